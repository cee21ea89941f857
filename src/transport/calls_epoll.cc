// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <errno.h>

#include "src/transport/calls.h"
#include "src/transport/drain.h"
#include "src/transport/raw.h"
#include "src/transport/readiness.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"
#include "src/transport/watches.h"

namespace msocket::transport {

long do_epoll_create(int flags) {
  if (!rt.active) return raw::sys(SYS_epoll_create1, flags);
  Section section;  // a freeze in between would find a set that is in no table
  long fd = raw::sys(SYS_epoll_create1, flags);
  if (fd < 0 || fd >= kMaxFd) return fd;
  if (add_epoll(static_cast<int>(fd), -1)) return fd;
  raw::close(static_cast<int>(fd));
  return -EMFILE;
}

long do_epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  if (!(kind_of(epoll) & kEpoll) || !(kind_of(fd) & kVirtual)) return raw::sys(SYS_epoll_ctl, epoll, operation, fd, event);
  if (operation != EPOLL_CTL_DEL && !event) return -EFAULT;
  Section section;
  int set = epoll_id(epoll);
  VSocket* vs = kind_of(fd) & kVirtual ? vsocket_of[fd] : nullptr;
  if (!set || !vs) return raw::sys(SYS_epoll_ctl, epoll, operation, fd, event);
  rt.changed = true;  // another thread may be waiting on this set
  return change_watch(set, operation, fd, vs, event);
}

namespace {

// Both ask for the same entry: one event.
int merge(epoll_event* events, int own, int from_kernel) {
  int count = own;
  for (int i = own; i < own + from_kernel; ++i) {
    int same = 0;
    while (same < own && events[same].data.u64 != events[i].data.u64) ++same;
    if (same < own) events[same].events |= events[i].events;
    else events[count++] = events[i];
  }
  return count;
}

}  // namespace

long do_epoll_wait(int epoll, epoll_event* events, int most, int timeout_ms, const sigset_t* mask) {
  if (!(kind_of(epoll) & kEpoll) || most <= 0 || !events)
    return raw::sys(SYS_epoll_pwait, epoll, events, most, timeout_ms, mask, 8);
  uint64_t own_mask;
  mask = let_control_through(mask, &own_mask);
  int64_t deadline = timeout_ms > 0 ? now_ns() + timeout_ms * kNsInMs : 0;
  auto wait = [&](int own, int left, const uint32_t* word, uint32_t value) {
    return ms_stub_equal(epoll, reinterpret_cast<long>(events + own), most - own, left, reinterpret_cast<long>(mask), 8,
                         SYS_epoll_pwait, word, value);
  };
  for (bool first = true;; first = false) {
    int left = timeout_ms;
    if (timeout_ms > 0 && !first) {
      int64_t rest = deadline - now_ns();
      left = rest < 0 ? 0 : static_cast<int>((rest + kNsInMs - 1) / kNsInMs);  // never too short
    }
    uint32_t signals = rt.signals;
    long r = wait(0, left, &any_slow, 0);
    if (r == -EINTR && rt.signals != signals) continue;
    if (r != kRedo) return r;
    int own;
    uint32_t epoch;
    {
      Section section;
      epoch = section.epoch();
      if (!any_slow) continue;
      drain_all();
      own = own_epoll_events(epoll_id(epoll), events, most);
    }
    if (own == most) return own;
    signals = rt.signals;
    r = own ? raw::sys(SYS_epoll_pwait, epoll, events + own, most - own, 0, mask, 8) : wait(0, patience(left), &rt.epoch, epoch);
    if (r == kRedo || (r == -EINTR && rt.signals != signals && !own)) continue;
    if (r < 0) return own ? own : r;
    if (r > 0) {
      Section section;
      r = drop_early_ends(epoll_id(epoll), events + own, static_cast<int>(r));
      learn_fired(epoll_id(epoll));
    }
    if (own || r > 0) return merge(events, own, static_cast<int>(r));
    if (timeout_ms == 0 || (timeout_ms > 0 && now_ns() >= deadline)) return 0;
  }
}

}  // namespace msocket::transport
