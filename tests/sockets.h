/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * One source, two programs: with libmsocket, or with PLAIN_SOCKETS defined the same calls of the kernel's own sockets.
 * And the few steps that every test program begins with. All of them end the program with a line when they fail.
 */
#ifndef MSOCKET_TESTS_SOCKETS_H
#define MSOCKET_TESTS_SOCKETS_H

#ifdef PLAIN_SOCKETS
#define ms_socket socket
#define ms_bind bind
#define ms_listen listen
#define ms_accept accept
#define ms_connect connect
#define ms_read read
#define ms_write write
#define ms_close close
#define ms_shutdown shutdown
#define ms_setsockopt setsockopt
#define ms_getsockopt getsockopt
#define ms_getsockname getsockname
#define ms_getpeername getpeername
#define ms_dup dup
#define ms_dup2 dup2
#define ms_fcntl fcntl
#define ms_ioctl ioctl
#define ms_poll poll
#else
#include <msocket/msocket.h>
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char* program = "?";
static FILE* report; /* where the program speaks of itself; NULL: standard output */

static inline FILE* said(void) { return report ? report : stdout; }

static inline void die(const char* what) {
  fprintf(said(), "%s: FAILED %s: %s\n", program, what, strerror(errno));
  exit(1);
}

/* Output is read by others while the program runs; a peer that is gone shall be an error, not the end. */
static inline void begin(const char* name) {
  program = name;
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
}

static inline void no_delay(int fd) {
  int one = 1;
  if (ms_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0) die("TCP_NODELAY");
}

static inline int listen_on(int port) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  int one = 1, listener = ms_socket(AF_INET, SOCK_STREAM, 0);
  if (listener < 0) die("socket");
  ms_setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (ms_bind(listener, (struct sockaddr*)&at, sizeof at) < 0) die("bind");
  if (ms_listen(listener, 5) < 0) die("listen");
  fprintf(said(), "%s: listening on port %d\n", program, port);
  return listener;
}

static inline int accept_next(int listener) {
  int fd;
  do fd = ms_accept(listener, NULL, NULL);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) die("accept");
  return fd;
}

/* A connection from whoever comes first. */
static inline int accept_one(int port) {
  int listener = listen_on(port), fd = accept_next(listener);
  ms_close(listener);
  return fd;
}

static inline int connect_to(const char* address, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  int fd = ms_socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) {
    errno = EINVAL;
    die(address);
  }
  if (ms_connect(fd, (struct sockaddr*)&to, sizeof to) < 0) die("connect");
  return fd;
}

/* How much was read: less than `size` only at the end of the stream. */
static inline size_t read_full(int fd, unsigned char* buffer, size_t size) {
  size_t have = 0;
  while (have < size) {
    ssize_t got = ms_read(fd, buffer + have, size - have);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) die("read");
    have += (size_t)got;
  }
  return have;
}

static inline void write_full(int fd, const unsigned char* buffer, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t sent = ms_write(fd, buffer + done, size - done);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) die("write");
    done += (size_t)sent;
  }
}

/* Everything that comes, to standard output as it comes; how much it was. */
static inline long copy_to_output(int fd) {
  static char buffer[65536];
  long bytes = 0;
  for (;;) {
    ssize_t got = ms_read(fd, buffer, sizeof buffer);
    if (got == 0) return bytes;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) die("read");
    for (ssize_t done = 0; done < got;) {
      ssize_t put = write(STDOUT_FILENO, buffer + done, (size_t)(got - done));
      if (put < 0 && errno != EINTR) die("standard output");
      if (put > 0) done += put;
    }
    bytes += got;
  }
}

#endif
