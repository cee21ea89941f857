/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 */
#include "waiters.h"

static enum waiter kind;
static int epoll_fd = -1, epoll_copy = -1;
static unsigned calls;

void waiter_begin(enum waiter which) {
  kind = which;
  if (kind < LEVEL) return;
  MUST((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) >= 0);
  MUST((epoll_copy = fcntl(epoll_fd, F_DUPFD_CLOEXEC, 30)) >= 30);
}

void waiter_forget(struct watched* entry) {
  /* Every second time the kernel is left to find out that the descriptor is closed. */
  if (kind >= LEVEL && entry->in_set >= 0 && entry->fd % 2) MUST(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, entry->fd, NULL) == 0);
  entry->in_set = -1;
  entry->armed = 0;
}

/* All signals blocked while it waits: the library's own must come through all the same. */
static const sigset_t* full_mask(void) {
  static sigset_t mask;
  sigfillset(&mask);
  return calls % 2 ? &mask : NULL;
}

static struct timespec* in_timespec(int ms, struct timespec* to) {
  if (ms < 0) return NULL;
  *to = (struct timespec){ms / 1000, ms % 1000 * 1000000L};
  return to;
}

static int by_poll(struct watched* entries, int count, int timeout_ms) {
  struct pollfd fds[MOST_WATCHED];
  struct timespec timeout;
  for (int i = 0; i < count; ++i) fds[i] = (struct pollfd){entries[i].events ? entries[i].fd : -1, entries[i].events, 0};
  int r = kind == POLL ? poll(fds, (nfds_t)count, timeout_ms)
                       : ppoll(fds, (nfds_t)count, in_timespec(timeout_ms, &timeout), full_mask());
  if (r < 0) return r;
  int found = 0;
  for (int i = 0; i < count; ++i) {
    entries[i].ready = fds[i].revents;
    found += fds[i].revents != 0;
    if (fds[i].revents & POLLNVAL) die("poll: descriptor %d is none", fds[i].fd);
    if (fds[i].revents & ~(fds[i].events | POLLERR | POLLHUP)) die("poll: events %#x that were not asked", fds[i].revents);
  }
  if (found != r) die("poll gives %d, but %d are ready", r, found);
  return r;
}

static int by_select(struct watched* entries, int count, int timeout_ms) {
  fd_set in, out, except;
  int highest = -1;
  struct timespec timeout;
  struct timeval seconds = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_ZERO(&except);
  for (int i = 0; i < count; ++i) {
    if (!entries[i].events) continue;
    if (entries[i].events & POLLIN) FD_SET(entries[i].fd, &in);
    if (entries[i].events & POLLOUT) FD_SET(entries[i].fd, &out);
    FD_SET(entries[i].fd, &except);
    if (entries[i].fd > highest) highest = entries[i].fd;
  }
  int r = kind == SELECT ? select(highest + 1, &in, &out, &except, timeout_ms < 0 ? NULL : &seconds)
                         : pselect(highest + 1, &in, &out, &except, in_timespec(timeout_ms, &timeout), full_mask());
  if (r < 0) return r;
  if (kind == SELECT && r == 0 && (seconds.tv_sec || seconds.tv_usec)) die("select: timed out with time left");
  int found = 0;
  for (int i = 0; i < count; ++i) {
    if (!entries[i].events) continue;
    entries[i].ready = (short)((FD_ISSET(entries[i].fd, &in) ? POLLIN : 0) | (FD_ISSET(entries[i].fd, &out) ? POLLOUT : 0));
    found += !!(entries[i].ready & POLLIN) + !!(entries[i].ready & POLLOUT);
    if (FD_ISSET(entries[i].fd, &except)) die("select: an exception on descriptor %d", entries[i].fd);
    if (entries[i].ready & ~entries[i].events) die("select: events %#x that were not asked", entries[i].ready);
  }
  if (found != r) die("select gives %d, but %d bits are set", r, found);
  return r;
}

static void tell_set(struct watched* entry, int index) {
  short want = entry->events;
  uint32_t flags = 0;
  if (kind == EDGE) {
    want = POLLIN | POLLOUT;
    flags = EPOLLET;
  }
  if (kind == ONESHOT) flags = EPOLLONESHOT;
  if (want == entry->in_set && (kind != ONESHOT || entry->armed || !want)) return;
  struct epoll_event event = {(uint32_t)want | flags | (want ? EPOLLRDHUP : 0), {.u64 = (uint64_t)index << 32 | (unsigned)entry->fd}};
  int r = epoll_ctl(calls % 2 ? epoll_fd : epoll_copy, entry->in_set < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, entry->fd, &event);
  if (r != 0) die("epoll_ctl, descriptor %d, events %#x instead of %d", entry->fd, want, entry->in_set);
  entry->in_set = want;
  entry->armed = want != 0;
}

static int by_epoll(struct watched* entries, int count, int timeout_ms) {
  struct epoll_event events[MOST_WATCHED];
  struct timespec timeout;
  for (int i = 0; i < count; ++i)
    if (entries[i].fd >= 0) tell_set(&entries[i], i);
  int most = calls % 8 == 0 ? 3 : MOST_WATCHED, r, in_vain = 0, given = timeout_ms;
again:
  if (calls % 5 == 0 && kind != EDGE) {  /* the set itself can be waited for */
    struct pollfd set = {epoll_copy, POLLIN, 0};
    r = poll(&set, 1, given);
    if (r <= 0) return r;
    MUST(r == 1 && set.revents == POLLIN);
    timeout_ms = 0;
  }
  switch (calls % 3) {
    case 0: r = epoll_wait(epoll_fd, events, most, timeout_ms); break;
    case 1: r = epoll_pwait(epoll_copy, events, most, timeout_ms, full_mask()); break;
    default: r = epoll_pwait2(epoll_fd, events, most, in_timespec(timeout_ms, &timeout), full_mask());
  }
  if (r < 0) return r;
  if (r == 0 && timeout_ms != given) {  /* a move came between the two calls; but not for ever */
    if (++in_vain > 50) die("poll says that the epoll set is ready, epoll_wait that it is not");
    goto again;
  }
  if (r > most) die("epoll_wait gives %d events, asked were %d", r, most);
  for (int i = 0; i < r; ++i) {
    uint64_t index = events[i].data.u64 >> 32;
    MUST(index < (uint64_t)count);
    struct watched* entry = &entries[index];
    if (entry->fd != (int)events[i].data.u64) die("epoll_wait: an event of descriptor %d, which is closed", (int)events[i].data.u64);
    if (entry->ready) die("epoll_wait: two events of descriptor %d", entry->fd);
    if (kind == ONESHOT && !entry->armed) die("epoll_wait: one-shot events %#x again, descriptor %d", events[i].events, entry->fd);
    if (events[i].events & ~(uint32_t)(entry->in_set | EPOLLERR | EPOLLHUP | EPOLLRDHUP))
      die("epoll_wait: events %#x that were not asked, descriptor %d", events[i].events, entry->fd);
    entry->ready = (short)events[i].events;
    entry->armed = 0;
  }
  return r;
}

int wait_for(struct watched* entries, int count, int timeout_ms) {
  MUST(count <= MOST_WATCHED);
  for (int i = 0; i < count; ++i) entries[i].ready = 0;
  ++calls;
  int64_t start = now_us();
  int r = kind < SELECT ? by_poll(entries, count, timeout_ms)
          : kind < LEVEL ? by_select(entries, count, timeout_ms)
                         : by_epoll(entries, count, timeout_ms);
  if (r < 0) die("waiting");
  int64_t waited = now_us() - start;
  if (r == 0 && timeout_ms < 0) die("a call without time-out gives 0");
  if (r == 0 && waited < timeout_ms * 1000LL) die("a time-out of %d ms ends after %lld us", timeout_ms, (long long)waited);
  return r;
}
