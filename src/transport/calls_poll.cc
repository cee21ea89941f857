// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// poll, ppoll, select, pselect. While no number is slow, each is the system call itself.
#include <errno.h>
#include <string.h>
#include <time.h>

#include <initializer_list>

#include "src/transport/calls.h"
#include "src/transport/drain.h"
#include "src/transport/options.h"
#include "src/transport/raw.h"
#include "src/transport/readiness.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"
#include "src/transport/watches.h"

namespace msocket::transport {

namespace {
constexpr int64_t kNs = 1000000000;
}

int64_t now_ns() {
  timespec t;
  raw::sys(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
  return t.tv_sec * kNs + t.tv_nsec;
}

short own_events(const VSocket* vs, short wanted, short* ask) {
  constexpr short kReading = POLLIN | POLLRDNORM, kWriting = POLLOUT | POLLWRNORM;
  *ask = 0;
  short ready = 0;
  if (vs->held) return 0;
  switch (vs->state) {
    case ConnState::kFailed: return static_cast<short>((wanted & (kReading | kWriting)) | POLLERR | POLLHUP);
    case ConnState::kListening:  // accepted before the move
      return wanted & kReading;
    case ConnState::kAwaiting:
    case ConnState::kDraining:
    case ConnState::kBuffered:
      if (vs->broken)
        return static_cast<short>((wanted & (kReading | kWriting | POLLRDHUP)) | POLLHUP | (vs->reset ? POLLERR : 0));
      if (vs->in.size() || vs->reset || vs->read_shut) ready = wanted & kReading;
      if (vs->state == ConnState::kAwaiting && (vs->write_shut || vs->out.size() < room_when_fresh(vs->fd, kMaxOut))) ready |= wanted & kWriting;
      if (vs->state != ConnState::kAwaiting) *ask = wanted & ~(kReading | POLLRDHUP | POLLPRI);
      if (vs->error) ready |= (wanted & kWriting) | POLLERR;
      return ready;
    case ConnState::kEstablished:  // it has an error to tell
      return static_cast<short>((wanted & (kReading | kWriting)) | POLLERR | POLLHUP);
    default: return 0;
  }
}

const sigset_t* let_control_through(const sigset_t* mask, uint64_t* copy) {
  if (!mask) return nullptr;
  memcpy(copy, mask, sizeof *copy);
  *copy &= ~(uint64_t{1} << (wire::kControlSignal - 1));
  return reinterpret_cast<const sigset_t*>(copy);
}

namespace {

// A time-out that goes on through interruptions of our own making.
class Deadline {
 public:
  explicit Deadline(const timespec* timeout) : forever_(!timeout), zero_(timeout && !timeout->tv_sec && !timeout->tv_nsec) {
    if (timeout) rest_ = *timeout;
    if (!forever_ && !zero_) end_ = now_ns() + timeout->tv_sec * kNs + timeout->tv_nsec;
  }
  bool zero() const { return zero_; }
  bool passed() const { return zero_ || (!forever_ && now_ns() >= end_); }
  /// What is left, for the kernel; nullptr: no end.
  timespec* rest() {
    if (forever_) return nullptr;
    if (!zero_) {
      int64_t left = end_ - now_ns();
      if (left < 0) left = 0;
      rest_ = {left / kNs, left % kNs};
    }
    return &rest_;
  }

 private:
  bool forever_, zero_;
  int64_t end_ = 0;
  timespec rest_{};
};

template <class T>
long as_long(T* pointer) {
  return reinterpret_cast<long>(pointer);
}

long kernel_ppoll(pollfd* fds, nfds_t count, timespec* rest, const sigset_t* mask, const uint32_t* word, uint32_t value) {
  return ms_stub_equal(as_long(fds), static_cast<long>(count), as_long(rest), as_long(mask), 8, 0, SYS_ppoll, word, value);
}

// Polls with some numbers slow. kRedo: none is any more.
long poll_slow(pollfd* fds, nfds_t count, Deadline& deadline, const sigset_t* mask) {
  auto* asked = static_cast<pollfd*>(__builtin_alloca(count * sizeof(pollfd)));
  for (;;) {
    int own = 0;
    uint32_t epoch;
    {
      Section section;
      epoch = section.epoch();
      if (!any_slow) return kRedo;
      drain_all();
      for (nfds_t i = 0; i < count; ++i) {
        asked[i] = fds[i];
        fds[i].revents = 0;
        if (fds[i].fd < 0) continue;
        uint8_t kind = kind_of(fds[i].fd);
        if ((kind & kEpoll) && (fds[i].events & POLLIN) && own_epoll_events(epoll_id(fds[i].fd), nullptr, 0)) {
          fds[i].revents = POLLIN;
          ++own;
        }
        if (!(kind & kSlow) || (kind & kDatagramKind)) continue;
        const VSocket* vs = vsocket_of[fds[i].fd];
        fds[i].revents = own_events(vs, fds[i].events, &asked[i].events);
        own += fds[i].revents != 0;
        if (vs->shared && vs->old_fd >= 0 && (fds[i].events & POLLIN)) {
          asked[i] = {vs->old_fd, POLLIN, 0};  // its bytes are still in the kernel; writing is possible in the end, too
        } else if (!asked[i].events) {
          asked[i].fd = -1;
        }
      }
    }
    // Also when it does not wait: what was to be asked of each number holds only while nothing has changed. A process that moves in
    // between would ask a socket about which the kernel has nothing to tell yet, and that is an end.
    uint32_t signals = rt.signals;
    timespec none{}, soon{0, patience(-1) * (kNs / 1000)};
    timespec* rest = own ? &none : deadline.rest();
    if (!own && rt.starved && (!rest || rest->tv_sec || rest->tv_nsec > soon.tv_nsec)) rest = &soon;
    long r = kernel_ppoll(asked, count, rest, mask, &rt.epoch, epoch);
    if (r == kRedo || (r == -EINTR && rt.signals != signals)) continue;
    if (r < 0 && !own) return r;
    int ready = 0;
    for (nfds_t i = 0; r > 0 && i < count; ++i) {
      if (asked[i].fd < 0 || asked[i].fd == fds[i].fd || !asked[i].revents) continue;
      // A shared old connection has something to say. Its end is not news to the program.
      Section section;
      VSocket* vs = vsocket_of[fds[i].fd];
      if (vs && vs->old_fd == asked[i].fd) drain_old(vs, 0);
      if (!vs || vs->old_fd != asked[i].fd) asked[i].revents = 0;
    }
    for (nfds_t i = 0; i < count; ++i) {
      // While the old connection drains, the end of the new one is not news yet: only what was asked counts.
      bool slow = asked[i].fd != fds[i].fd || asked[i].events != fds[i].events;
      short mask_events = slow ? static_cast<short>(asked[i].events | POLLNVAL) : static_cast<short>(-1);
      if (r > 0 && asked[i].fd >= 0) fds[i].revents |= asked[i].revents & mask_events;
      ready += fds[i].revents != 0;
    }
    if (ready || deadline.passed()) return ready;
  }
}

long poll_until(pollfd* fds, nfds_t count, Deadline& deadline, const sigset_t* mask) {
  for (;;) {
    uint32_t signals = rt.signals;
    long r = kernel_ppoll(fds, count, deadline.rest(), mask, &any_slow, 0);
    if (r == -EINTR && rt.signals != signals) continue;
    if (r == kRedo) r = poll_slow(fds, count, deadline, mask);
    if (r != kRedo) return r;
  }
}

}  // namespace

long do_poll(pollfd* fds, nfds_t count, int timeout_ms) {
  if (!rt.active) return raw::poll(fds, count, timeout_ms);
  // Most often it does not wait at all, or nobody interrupts it.
  int64_t start = timeout_ms > 0 ? now_ns() : 0;
  uint32_t signals = rt.signals;
  long r = ms_stub_equal(as_long(fds), static_cast<long>(count), timeout_ms, 0, 0, 0, SYS_poll, &any_slow, 0);
  if (r != kRedo && !(r == -EINTR && rt.signals != signals)) return r;
  timespec rest{};
  if (timeout_ms > 0) {
    int64_t left = timeout_ms * (kNs / 1000) - (now_ns() - start);
    if (left > 0) rest = {left / kNs, left % kNs};
  }
  Deadline deadline(timeout_ms < 0 ? nullptr : &rest);
  return poll_until(fds, count, deadline, nullptr);
}

long do_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  if (!rt.active) {
    timespec copy = timeout ? *timeout : timespec{};
    return raw::sys(SYS_ppoll, fds, count, timeout ? &copy : nullptr, mask, 8);
  }
  uint64_t own_mask;
  Deadline deadline(timeout);
  return poll_until(fds, count, deadline, let_control_through(mask, &own_mask));
}

namespace {

struct SigsetArgument {
  const sigset_t* mask;
  size_t size;
};

constexpr short kSelectRead = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR;
constexpr short kSelectWrite = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR;

bool in(const fd_set* set, int fd) {
  return set && (reinterpret_cast<const unsigned long*>(set)[fd / 64] >> (fd % 64) & 1);
}
void put(fd_set* set, int fd) { reinterpret_cast<unsigned long*>(set)[fd / 64] |= 1ul << (fd % 64); }

// select in terms of poll, for the time that some number is slow.
long select_slow(int count, fd_set* read, fd_set* write, fd_set* except, Deadline& deadline, const sigset_t* mask) {
  auto* fds = static_cast<pollfd*>(__builtin_alloca(static_cast<size_t>(count) * sizeof(pollfd)));
  nfds_t used = 0;
  for (int fd = 0; fd < count; ++fd) {
    int events = (in(read, fd) ? POLLIN : 0) | (in(write, fd) ? POLLOUT : 0) | (in(except, fd) ? POLLPRI : 0);
    if (events) fds[used++] = {fd, static_cast<short>(events), 0};
  }
  long r = poll_slow(fds, used, deadline, mask);
  if (r < 0) return r;
  for (nfds_t i = 0; i < used; ++i)
    if (fds[i].revents & POLLNVAL) return -EBADF;
  size_t bytes = (static_cast<size_t>(count) + 63) / 64 * 8;
  for (fd_set* set : {read, write, except})
    if (set) memset(set, 0, bytes);
  long found = 0;
  for (nfds_t i = 0; i < used; ++i) {
    auto report = [&](fd_set* set, short asked, short bits) {
      if (!set || !(fds[i].events & asked) || !(fds[i].revents & bits)) return;
      put(set, fds[i].fd);
      ++found;
    };
    report(read, POLLIN, kSelectRead);
    report(write, POLLOUT, kSelectWrite);
    report(except, POLLPRI, POLLPRI);
  }
  return found;
}

long select_until(int count, fd_set* read, fd_set* write, fd_set* except, Deadline& deadline, const sigset_t* mask) {
  uint64_t own_mask;
  SigsetArgument argument{let_control_through(mask, &own_mask), 8};
  for (;;) {
    uint32_t signals = rt.signals;
    long r = ms_stub_equal(count, as_long(read), as_long(write), as_long(except), as_long(deadline.rest()),
                           mask ? as_long(&argument) : 0, SYS_pselect6, &any_slow, 0);
    if (r == -EINTR && rt.signals != signals) continue;
    if (r == kRedo) r = select_slow(count, read, write, except, deadline, argument.mask);
    if (r != kRedo) return r;
  }
}

}  // namespace

long do_select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout) {
  if (!rt.active || count < 0 || count > kMaxFd) return raw::sys(SYS_select, count, read, write, except, timeout);
  timespec given{};
  if (timeout) {
    if (timeout->tv_sec < 0 || timeout->tv_usec < 0) return -EINVAL;
    given = {timeout->tv_sec + timeout->tv_usec / 1000000, (timeout->tv_usec % 1000000) * 1000};
  }
  Deadline deadline(timeout ? &given : nullptr);
  long r = select_until(count, read, write, except, deadline, nullptr);
  if (timeout) {  // Linux tells what is left
    const timespec* rest = deadline.rest();
    *timeout = {rest->tv_sec, rest->tv_nsec / 1000};
  }
  return r;
}

long do_pselect(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout, const sigset_t* mask) {
  if (!rt.active || count < 0 || count > kMaxFd) {
    timespec copy = timeout ? *timeout : timespec{};
    SigsetArgument argument{mask, 8};
    return raw::sys(SYS_pselect6, count, read, write, except, timeout ? &copy : nullptr, &argument);
  }
  Deadline deadline(timeout);
  return select_until(count, read, write, except, deadline, mask);
}

}  // namespace msocket::transport
