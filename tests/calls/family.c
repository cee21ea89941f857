/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Connections that several processes have. The processes of a family cannot move; their peer does, many times.
 */
#include "calls.h"

enum { RECORD = 700 };

static void wait_for_child(pid_t child) {
  int status;
  while (waitpid(child, &status, 0) < 0) MUST(errno == EINTR);
  if (!WIFEXITED(status) || WEXITSTATUS(status)) die("a child ended with status %#x", status);
}

static pid_t must_fork(void) {
  pid_t child = fork();
  MUST(child >= 0);
  return child;
}

/* A server that gives each connection to a child and closes its own copy. The client opens one after the other. */
void mode_fork_each(enum role role) {
  if (role == CLIENT) {
    ready();
    int fds[4];
    for (int i = 0; i < 4; ++i) fds[i] = connect_there();
    for (unsigned turn = 0; !stopping(); ++turn) {
      int which = (int)dice(4);
      echo_round(fds[which], 1 + dice(20000));
      if (turn % 50 == 49) {
        MUST(close(fds[which]) == 0);
        fds[which] = connect_there();
      }
      progress();
    }
    for (int i = 0; i < 4; ++i) MUST(close(fds[i]) == 0);
    return;
  }
  int listener = listen_here(10), alive = 0, status;
  while (!stopping() || alive) {
    struct pollfd p = {listener, POLLIN, 0};
    int r = poll(&p, 1, alive ? 50 : 200);
    MUST(r >= 0);
    if (r == 1) {
      int fd = accept_from(listener);
      if (must_fork() == 0) {
        MUST(close(listener) == 0);
        echo_until_end(fd);
        fflush(stdout);
        _exit(0);
      }
      MUST(close(fd) == 0);
      ++alive;
    }
    while (alive && waitpid(-1, &status, WNOHANG) > 0) {
      MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
      --alive;
    }
  }
}

/* One connection, both directions streams: the parent writes, the child reads. Both roles alike when they have one. */
static void write_stream(int fd, unsigned seed) {
  static unsigned char bytes[6000];
  uint64_t sent = 0;
  while (!stopping()) {
    size_t n = 1 + dice(sizeof bytes);
    fill(bytes, n, seed, sent);
    write_all(fd, bytes, n);
    sent += n;
    progress();
  }
  MUST(shutdown(fd, SHUT_WR) == 0);
}

static void read_stream(int fd, unsigned seed) {
  static unsigned char bytes[9000];
  uint64_t have = 0;
  for (;;) {
    ssize_t n = read(fd, bytes, 1 + dice(sizeof bytes));
    MUST(n >= 0);
    if (n == 0) return;
    check(bytes, (size_t)n, seed, have);
    have += (uint64_t)n;
    progress();
  }
}

void mode_fork_split(enum role role) {
  if (role == CLIENT) { /* it moves: one process, by poll */
    int fd = connect_there();
    unsigned char bytes[5000];
    uint64_t sent = 0, have = 0;
    int ended = 0;
    ready();
    for (;;) {
      if (!ended && stopping()) ended = shutdown(fd, SHUT_WR) == 0;
      struct pollfd p = {fd, (short)(POLLIN | (ended ? 0 : POLLOUT)), 0};
      MUST(poll(&p, 1, -1) == 1);
      if (p.revents & POLLIN) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0) break;
        MUST(n > 0 || errno == EAGAIN);
        if (n > 0) check(bytes, (size_t)n, 11, have), have += (uint64_t)n;
      }
      if (!ended && (p.revents & POLLOUT)) {
        size_t size = 1 + dice(sizeof bytes);
        fill(bytes, size, 22, sent);
        ssize_t n = send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        MUST(n > 0 || errno == EAGAIN);
        if (n > 0) sent += (uint64_t)n;
      }
      progress();
    }
    while (!ended) ended = stopping() && shutdown(fd, SHUT_WR) == 0;
    return;
  }
  int fd = accept_from(listen_here(1));
  pid_t child = must_fork();
  if (child == 0) {
    read_stream(fd, 22);
    fflush(stdout);
    _exit(0);
  }
  write_stream(fd, 11);
  wait_for_child(child);
}

/* Two children read records of one connection, one at a time; a byte in a pipe is the lock. Each tells by its own numbers'
 * order that none is lost, and the client gets each number back once. */
static void take_records(int fd, int lock_in, int lock_out) {
  unsigned char record[RECORD], token;
  int set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {EPOLLIN, {.fd = fd}};
  MUST(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
  for (unsigned turn = 0;; ++turn) {
    struct pollfd p = {fd, POLLIN, 0};
    fd_set in;
    read_all(lock_in, &token, 1);
    FD_ZERO(&in);
    FD_SET(fd, &in);
    switch (turn % 5) { /* or in the reading call itself */
      case 0: MUST(poll(&p, 1, -1) == 1 && (p.revents & POLLIN)); break;
      case 1: MUST(epoll_wait(set, &event, 1, -1) == 1 && event.data.fd == fd); break;
      case 2: MUST(select(fd + 1, &in, NULL, NULL, NULL) == 1 && FD_ISSET(fd, &in)); break;
      case 3: MUST(recv(fd, record, RECORD, MSG_PEEK) >= 0); break;
    }
    ssize_t n = recv(fd, record, sizeof record, MSG_WAITALL);
    if (n == 0) {
      write_all(lock_out, &token, 1);
      return;
    }
    MUST(n == sizeof record);
    uint32_t number;
    memcpy(&number, record, sizeof number);
    check(record + 4, sizeof record - 4, number % 256, 0);
    write_all(fd, &number, sizeof number);
    write_all(lock_out, &token, 1);
    progress();
  }
}

void mode_fork_records(enum role role) {
  if (role == CLIENT) {
    int fd = connect_there();
    unsigned char record[RECORD];
    uint32_t number = 0, back;
    ready();
    while (!stopping()) {
      for (unsigned i = 0; i < 8; ++i) {
        uint32_t now = number + i;
        memcpy(record, &now, sizeof now);
        fill(record + 4, sizeof record - 4, now % 256, 0);
        write_all(fd, record, sizeof record);
      }
      for (unsigned i = 0; i < 8; ++i) {
        read_all(fd, &back, sizeof back);
        if (back != number + i) die("record %u comes back as %u", number + i, back);
      }
      number += 8;
      progress();
    }
    MUST(shutdown(fd, SHUT_WR) == 0);
    MUST(read(fd, &back, 1) == 0);
    return;
  }
  int fd = accept_from(listen_here(1)), lock[2];
  pid_t children[2];
  MUST(pipe(lock) == 0);
  for (int i = 0; i < 2; ++i) {
    if ((children[i] = must_fork()) != 0) continue;
    take_records(fd, lock[0], lock[1]);
    fflush(stdout);
    _exit(0);
  }
  MUST(close(fd) == 0);
  write_all(lock[1], "x", 1);
  for (int i = 0; i < 2; ++i) wait_for_child(children[i]);
}

/* As many servers do it: children that all wait in accept on their parent's listener. */
void mode_fork_accept(enum role role) {
  enum { CHILDREN = 3 };
  pid_t children[CHILDREN];
  int status;
  if (role == CLIENT) {
    int fds[CHILDREN];
    ready();
    while (!stopping()) {
      for (int i = 0; i < CHILDREN; ++i) fds[i] = connect_there();
      for (unsigned round = 0; round < 10; ++round) {
        echo_round(fds[dice(CHILDREN)], 1 + dice(5000));
        progress();
      }
      for (int i = 0; i < CHILDREN; ++i) {
        MUST(shutdown(fds[i], SHUT_WR) == 0);
        MUST(read(fds[i], &status, 1) == 0); /* its child is free again */
        MUST(close(fds[i]) == 0);
      }
    }
    client_ended(1);
    return;
  }
  int listener = listen_here(10);
  for (int i = 0; i < CHILDREN; ++i)
    if ((children[i] = must_fork()) == 0)
      for (;;) echo_until_end(accept_from(listener));
  while (!client_ended(0)) {
    poll(NULL, 0, 20);
    MUST(waitpid(-1, &status, WNOHANG) == 0); /* none has ended */
    progress();
  }
  for (int i = 0; i < CHILDREN; ++i) MUST(kill(children[i], SIGTERM) == 0 && waitpid(children[i], &status, 0) == children[i]);
}
