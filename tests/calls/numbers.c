/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Descriptors: copies, flags, options, names, how much is there, both ways of shutdown; each read back after moves. And a
 * program that closes everything, as daemons do.
 */
#include "calls.h"

static int option(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  MUST(getsockopt(fd, level, name, &value, &length) == 0 && length == sizeof value);
  return value;
}

static void set_option(int fd, int level, int name, int value) { MUST(setsockopt(fd, level, name, &value, sizeof value) == 0); }

static struct sockaddr_in name_of(int fd, int peer) {
  struct sockaddr_in name;
  memset(&name, 0xee, sizeof name);
  socklen_t length = sizeof name;
  MUST((peer ? getpeername : getsockname)(fd, (struct sockaddr*)&name, &length) == 0);
  MUST(length == sizeof name && name.sin_family == AF_INET);
  return name;
}

static int same(struct sockaddr_in a, struct sockaddr_in b) {
  return a.sin_addr.s_addr == b.sin_addr.s_addr && a.sin_port == b.sin_port;
}

static void copies(int fd) {
  static const struct { int number, close_on_exec; } expected[] = {{70, 0}, {71, 1}, {72, 0}, {80, 0}, {90, 1}};
  enum { COPIES = sizeof expected / sizeof expected[0] };
  static int made;
  int plain;
  if (!made) {
    MUST(dup2(fd, 70) == 70);
    MUST(dup3(fd, 71, O_CLOEXEC) == 71);
    MUST((plain = open("/dev/null", O_RDWR)) >= 0);
    MUST(dup2(plain, 72) == 72); /* a number that something else has */
    close(plain);
    MUST(dup2(fd, 72) == 72);
    MUST(fcntl(70, F_DUPFD, 80) == 80);
    MUST(fcntl(71, F_DUPFD_CLOEXEC, 90) == 90);
    MUST(dup2(fd, fd) == fd);
    MUST(dup3(fd, fd, 0) < 0 && errno == EINVAL);
    MUST(dup2(999, 70) < 0 && errno == EBADF);
    made = 1;
  }
  for (int i = 0; i < COPIES; ++i) {
    int number = expected[i].number;
    if ((fcntl(number, F_GETFD) & FD_CLOEXEC) != expected[i].close_on_exec)
      die("descriptor %d: close-on-exec is %d", number, fcntl(number, F_GETFD));
    echo_round(number, 1 + dice(3000));
  }
  int lowest = dup(80);
  MUST(lowest >= 0 && lowest < 70);
  set_nonblocking(lowest, 1); /* a flag of what they share */
  MUST(fcntl(90, F_GETFL) & O_NONBLOCK);
  MUST(fcntl(90, F_SETFL, fcntl(90, F_GETFL) & ~O_NONBLOCK) == 0);
  MUST(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
  MUST(close(lowest) == 0);
  if (dice(4)) return;
  for (int i = 0; i < COPIES; ++i) MUST(close(expected[i].number) == 0);
  made = 0;
}

/* Options that were set once are there for ever. */
static void options(int fd) {
  static int set;
  struct timeval seconds = {7, 0};
  struct linger linger = {1, 9}, found;
  socklen_t length = sizeof seconds;
  if (!set++) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 77);
    set_option(fd, SOL_SOCKET, SO_RCVBUF, 50000);
    set_option(fd, IPPROTO_IP, IP_TOS, 0x10); /* sets a priority, too */
    set_option(fd, SOL_SOCKET, SO_PRIORITY, 3);
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &seconds, sizeof seconds) == 0);
    MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
  }
  MUST(option(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
  MUST(option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
  MUST(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 77);
  MUST(option(fd, SOL_SOCKET, SO_RCVBUF) == 100000);
  MUST(option(fd, SOL_SOCKET, SO_PRIORITY) == 3);
  MUST(option(fd, IPPROTO_IP, IP_TOS) == 0x10);
  MUST(option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
  MUST(option(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET);
  MUST(option(fd, SOL_SOCKET, SO_ERROR) == 0);
  MUST(option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0);
  seconds.tv_sec = 0;
  MUST(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &seconds, &length) == 0 && seconds.tv_sec == 7);
  length = sizeof found;
  MUST(getsockopt(fd, SOL_SOCKET, SO_LINGER, &found, &length) == 0 && found.l_onoff == 1 && found.l_linger == 9);
}

/* FIONREAD tells what a read that does not wait would give. */
static void how_much(int fd) {
  unsigned char bytes[3000];
  size_t size = 1 + dice(sizeof bytes);
  int there = -1;
  fill(bytes, size, 5, 0);
  MUST(ioctl(fd, FIONREAD, &there) == 0 && there == 0);
  write_all(fd, bytes, size);
  for (size_t have = 0; have < size;) {
    MUST(ioctl(fd, FIONREAD, &there) == 0);
    if (there == 0) {
      struct pollfd p = {fd, POLLIN, 0};
      MUST(poll(&p, 1, -1) == 1);
      continue;
    }
    MUST((size_t)there <= size - have);
    have += (size_t)there;
    if (have == size) read_all(fd, bytes, size);
    else have = 0; /* not all yet */
  }
  check(bytes, size, 5, 0);
}

/* A connection that is shut down for reading, or for writing, stays so. */
static void half(void) {
  static int in_only = -1, out_only = -1;
  static unsigned age;
  unsigned char byte = 9;
  if (in_only < 0) {
    MUST(shutdown(in_only = connect_there(), SHUT_WR) == 0);
    MUST(shutdown(out_only = connect_there(), SHUT_RD) == 0);
  }
  MUST(send(in_only, &byte, 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
  MUST(read(in_only, &byte, 1) == 0); /* the server has seen the end and closed */
  MUST(read(out_only, &byte, 1) == 0);
  MUST(recv(out_only, &byte, 1, MSG_DONTWAIT) == 0);
  struct pollfd p = {out_only, POLLIN, 0};
  MUST(poll(&p, 1, -1) == 1 && (p.revents & POLLIN));
  if (++age % 50) return;
  MUST(close(in_only) == 0 && close(out_only) == 0);
  in_only = out_only = -1;
}

void mode_numbers(enum role role) {
  if (role == SERVER) return serve_by_poll(listen_here(20), NULL);
  int fd = connect_there();
  struct sockaddr_in here = name_of(fd, 0), there = name_of(fd, 1);
  char text[INET_ADDRSTRLEN];
  MUST(strcmp(inet_ntop(AF_INET, &there.sin_addr, text, sizeof text), server_address) == 0);
  MUST(ntohs(there.sin_port) == server_port && here.sin_port != 0);
  ready();
  while (!stopping()) {
    MUST(same(name_of(fd, 0), here) && same(name_of(fd, 1), there));
    options(fd);
    copies(fd);
    how_much(fd);
    half();
    progress();
  }
}

/* As daemons begin: every descriptor that they know nothing of is closed. The library must survive it. */
void mode_close_all(enum role role) {
  int listener = role == SERVER ? listen_here(5) : -1, fd = role == SERVER ? accept_from(listener) : connect_there();
  if (role == CLIENT) ready();
  if (role == SERVER) {
    while (!stopping()) {
      unsigned char byte;
      MUST(fcntl(fd, F_DUPFD, 40) >= 40);
      MUST(dup2(fd, 3) == 3);
      if (fd != 3) MUST(close(fd) == 0);
      fd = 3;
      int how = (int)dice(3);
      if (how == 0) closefrom(4);
      if (how == 1) MUST(close_range(4, ~0u, 0) == 0);
      if (how == 2)
        for (int i = 4; i < 1100; ++i) close(i);
      MUST(fcntl(40, F_GETFD) < 0 && errno == EBADF);
      MUST(dup2(fd, 1000) < 0 || close(1000) == 0); /* a number that the library may have */
      ssize_t n = recv(fd, &byte, 1, 0);
      MUST(n >= 0);
      if (n == 0) break;
      write_all(fd, &byte, 1);
      progress();
    }
    if (stopping()) echo_until_end(fd);
    return;
  }
  while (!stopping()) {
    echo_round(fd, 1);
    MUST(close_range(200, 300, CLOSE_RANGE_CLOEXEC) == 0);
    progress();
  }
  MUST(shutdown(fd, SHUT_WR) == 0);
  MUST(read(fd, &(char){0}, 1) == 0);
}
