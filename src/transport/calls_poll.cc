// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <errno.h>
#include <time.h>

#include "src/transport/calls.h"
#include "src/transport/drain.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"

namespace msocket::transport {

namespace {

int64_t now_ms() {
  timespec t;
  raw::sys(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

// What a socket that is not in its steady state can say by itself. `ask`: the events that the kernel must still be asked
// about under this number; 0: none.
short own_events(const VSocket* vs, short wanted, short* ask) {
  *ask = 0;
  short ready = 0;
  switch (vs->state) {
    case ConnState::kFailed: return static_cast<short>((wanted & (POLLIN | POLLOUT)) | POLLERR | POLLHUP);
    case ConnState::kListening:  // accepted before the move
      return wanted & POLLIN;
    case ConnState::kAwaiting:
    case ConnState::kDraining:
    case ConnState::kBuffered:
      if (vs->in.size() || vs->reset) ready = wanted & (POLLIN | POLLRDNORM);
      if (vs->state == ConnState::kAwaiting && !vs->write_shut && vs->out.size() < kMaxOut)
        ready |= wanted & (POLLOUT | POLLWRNORM);
      if (vs->state != ConnState::kAwaiting) *ask = wanted & ~(POLLIN | POLLRDNORM);
      return ready;
    default: return 0;
  }
}

// Polls with some numbers slow. kRedo: none is any more.
long poll_slow(pollfd* fds, nfds_t count, int timeout_ms) {
  auto* asked = static_cast<pollfd*>(__builtin_alloca(count * sizeof(pollfd)));
  int64_t deadline = now_ms() + timeout_ms;
  for (;;) {
    int own = 0;
    {
      Section section;
      rt.events = 0;
      if (!any_slow) return kRedo;
      drain_all();
      for (nfds_t i = 0; i < count; ++i) {
        asked[i] = fds[i];
        fds[i].revents = 0;
        if (fds[i].fd < 0 || !(kind_of(fds[i].fd) & kSlow) || (kind_of(fds[i].fd) & kDatagramKind)) continue;
        fds[i].revents = own_events(vsocket_of[fds[i].fd], fds[i].events, &asked[i].events);
        own += fds[i].revents != 0;
        if (!asked[i].events) asked[i].fd = -1;
      }
    }
    long r;
    auto kernel = reinterpret_cast<long>(asked);
    if (own || timeout_ms == 0) {
      r = raw::poll(asked, count, 0);
    } else {
      int64_t rest = timeout_ms < 0 ? -1 : deadline - now_ms();
      int left = timeout_ms < 0 ? -1 : (rest < 0 ? 0 : static_cast<int>(rest));
      r = ms_stub(kernel, static_cast<long>(count), left, 0, 0, 0, SYS_poll, &rt.events, 0xff);
      if (r == kRedo || (r == -EINTR && rt.events)) continue;
    }
    if (r < 0 && !own) return r;
    int ready = 0;
    for (nfds_t i = 0; i < count; ++i) {
      // While the old connection drains, the end of the new one is not news yet: only what was asked counts.
      bool slow = asked[i].fd != fds[i].fd || asked[i].events != fds[i].events;
      short mask = slow ? static_cast<short>(asked[i].events | POLLNVAL) : static_cast<short>(-1);
      if (r > 0 && asked[i].fd >= 0) fds[i].revents |= asked[i].revents & mask;
      ready += fds[i].revents != 0;
    }
    if (ready || timeout_ms == 0) return ready;
    if (timeout_ms > 0 && now_ms() >= deadline) return 0;
  }
}

}  // namespace

long do_poll(pollfd* fds, nfds_t count, int timeout_ms) {
  if (!rt.active) return raw::poll(fds, count, timeout_ms);
  int64_t deadline = timeout_ms > 0 ? now_ms() + timeout_ms : 0;
  for (;;) {
    int left = timeout_ms;
    if (timeout_ms > 0) {
      int64_t rest = deadline - now_ms();
      left = rest < 0 ? 0 : static_cast<int>(rest);
    }
    rt.events = 0;  // what was before is no reason to swallow a signal of the program's
    long r = ms_stub(reinterpret_cast<long>(fds), static_cast<long>(count), left, 0, 0, 0, SYS_poll, &any_slow, 0xff);
    if (r == -EINTR && rt.events) continue;
    if (r != kRedo) return r;
    r = poll_slow(fds, count, left);
    if (r != kRedo) return r;
  }
}

}  // namespace msocket::transport
