// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What the programs do with poll, select and epoll.
#include <errno.h>
#include <poll.h>

#include <cstring>

#include "tests/sim/program.h"

namespace msocket::sim {

namespace {
constexpr int kMostEvents = 32;

// select in poll's words.
long ask_by_select(Process* p, pollfd* asked) {
  fd_set sets[2];
  for (fd_set& set : sets) {
    memset(&set, 0, sizeof set);
    FD_SET(asked->fd, &set);
  }
  timeval now{};
  long n = p->lib->select(asked->fd + 1, &sets[0], &sets[1], nullptr, &now);
  asked->revents = 0;
  if (n < 0) return n;
  if (FD_ISSET(asked->fd, &sets[0])) asked->revents |= POLLIN;
  if (FD_ISSET(asked->fd, &sets[1])) asked->revents |= POLLOUT;
  if (n != !!(asked->revents & POLLIN) + !!(asked->revents & POLLOUT)) sim.fail("select says %ld and marks %#x", n, asked->revents);
  return n;
}

// Notes what the program is told. The events of `of`.
uint32_t take_events(const epoll_event* events, long n, const End* of) {
  uint32_t result = 0;
  for (long i = 0; i < n; ++i) {
    auto* end = static_cast<End*>(events[i].data.ptr);
    if (end->closed) sim.fail("epoll tells of what is closed: %s", describe(*end).c_str());
    end->told |= (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
    end->told_room |= (events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
    sim.trace("epoll tells %#x of connection %d", events[i].events, end->conn->id);
    if (end == of) result |= events[i].events;
  }
  return result;
}
}  // namespace

void check_poll(End& end) {
  Process* p = end.process;
  int freezes = p->freezes;
  bool by_select = sim.random.percent(30);
  pollfd asked{end.fd, POLLIN | POLLOUT, 0};
  char byte;
  long n, peeked, written = 0;
  bool write_too = !end.shut && !end.broken && sim.random.percent(30);
  {
    Still still;
    n = by_select ? ask_by_select(p, &asked) : p->lib->poll(&asked, 1, 0);
    peeked = p->lib->recv(end.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (write_too && (asked.revents & POLLOUT)) {
      byte = pattern(*end.conn, end.side, end.sent);
      end.sending = 1;
      written = p->lib->send(end.fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
  }
  bool moved = p->freezes != freezes;
  if (write_too && (asked.revents & POLLOUT)) {
    if (written == -EAGAIN && !moved) sim.fail("poll says writable, a write says EAGAIN: %s", describe(end).c_str());
    check_write(end, 1, written, false);
  }
  if (peeked == -EAGAIN) end.told = false;
  if (peeked < 0 && peeked != -EAGAIN) {
    if (!end.conn->rude && !end.conn->lossy) sim.fail("error %ld from a peek: %s", -peeked, describe(end).c_str());
    sim.trace("is told error %ld by a peek: %s", -peeked, describe(end).c_str());
    end.broken = true;
  }
  if (moved) return;
  if (n < 0) sim.fail("poll: error %ld", -n);
  bool readable = asked.revents & (POLLIN | POLLHUP | POLLERR);
  if (readable != (peeked != -EAGAIN))
    sim.fail("poll says %s (%#x), a read says %ld: %s", readable ? "readable" : "nothing", asked.revents, peeked,
             describe(end).c_str());
}

void check_epoll(End& end, int epoll) {
  Process* p = end.process;
  int freezes = p->freezes;
  epoll_event events[kMostEvents];
  pollfd asked{end.fd, POLLOUT, 0};
  char byte;
  long n, peeked;
  {
    Still still;
    n = p->lib->epoll_wait(epoll, events, kMostEvents, 0, nullptr);
    p->lib->poll(&asked, 1, 0);
    peeked = p->lib->recv(end.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  }
  if (n < 0) sim.fail("epoll_wait: error %ld", -n);
  uint32_t told = take_events(events, n, &end);
  bool readable = peeked != -EAGAIN, told_now = told & (EPOLLIN | EPOLLHUP | EPOLLERR);
  if (p->freezes == freezes) {
    if (end.edge ? readable && !end.told : readable != told_now)
      sim.fail("epoll says %#x, a read says %ld: %s", told, peeked, describe(end).c_str());
    if (end.edge && (asked.revents & POLLOUT) && !end.told_room)
      sim.fail("epoll has not said that there is room to write: %s", describe(end).c_str());
  }
  if (!readable) end.told = false;
  if (peeked < 0 && readable) {
    if (!end.conn->rude && !end.conn->lossy) sim.fail("error %ld from a peek: %s", -peeked, describe(end).c_str());
    sim.trace("is told error %ld by a peek: %s", -peeked, describe(end).c_str());
    end.broken = true;
  }
}

void watch(End& end, int epoll, int operation) {
  if (operation != EPOLL_CTL_DEL) {
    end.edge = sim.random.percent(50);
    end.told = end.told_room = false;
  }
  sim.trace("epoll_ctl %d of connection %d%s", operation, end.conn->id, end.edge ? ", edges" : "");
  epoll_event event{};
  event.events = EPOLLIN | (end.edge ? EPOLLOUT | EPOLLET : 0);
  event.data.ptr = &end;
  long r = end.process->lib->epoll_ctl(epoll, operation, end.fd, operation == EPOLL_CTL_DEL ? nullptr : &event);
  if (r != 0) sim.fail("epoll_ctl: error %ld: %s", -r, describe(end).c_str());
}

void wait_by_poll(Process* p, const std::vector<End*>& ends, int listener) {
  std::vector<pollfd> asked;
  bool due = false;
  for (End* end : ends) {
    if (sim.random.percent(30)) continue;
    asked.push_back({end->fd, static_cast<short>(POLLIN | (sim.random.percent(20) ? POLLOUT : 0)), 0});
    due |= read_is_due(*end);
  }
  if (sim.random.percent(30)) {
    asked.push_back({listener, POLLIN, 0});
    due |= waiting_for(p) > 0;
  }
  int timeout = due && sim.random.percent(40) ? -1 : static_cast<int>(sim.random.below(20));
  Time before = sim.now;
  if (sim.random.percent(30)) {
    fd_set read;
    memset(&read, 0, sizeof read);
    int highest = -1;
    for (auto& one : asked) {
      FD_SET(one.fd, &read);
      highest = std::max(highest, one.fd);
    }
    timeval limit{0, timeout * 1000};
    long n = p->lib->select(highest + 1, &read, nullptr, nullptr, timeout < 0 ? nullptr : &limit);
    if (n < 0) sim.fail("select: error %ld", -n);
    if (n == 0 && sim.now - before < (timeout - 1) * kMs) sim.fail("select is back too early");
    return;
  }
  long n = p->lib->poll(asked.data(), asked.size(), timeout);
  if (n < 0) sim.fail("poll: error %ld", -n);
  if (n == 0 && sim.now - before < (timeout - 1) * kMs) sim.fail("poll is back too early");
  long ready = 0;
  for (auto& one : asked) {
    ready += one.revents != 0;
    if (one.revents & POLLNVAL) sim.fail("poll does not know number %d", one.fd);
  }
  if (ready != n) sim.fail("poll says %ld and marks %ld", n, ready);
}

void wait_by_epoll(Process* p, const std::vector<End*>& ends, int epoll) {
  bool due = false;
  for (End* end : ends) due |= read_is_due(*end) && !(end->edge && end->told);
  int timeout = due && sim.random.percent(40) ? -1 : static_cast<int>(sim.random.below(20));
  Time before = sim.now;
  epoll_event events[kMostEvents];
  int most = sim.random.percent(80) ? kMostEvents : 1;
  long n = p->lib->epoll_wait(epoll, events, most, timeout, nullptr);
  if (n < 0 || n > most) sim.fail("epoll_wait: %ld", n);
  if (n == 0 && sim.now - before < (timeout - 1) * kMs) sim.fail("epoll_wait is back too early");
  take_events(events, n, nullptr);
}

}  // namespace msocket::sim
