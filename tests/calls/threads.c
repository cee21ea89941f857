/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Threads: each blocks in another call on a connection of its own while either end moves; some block all
 * signals.
 */
#include "calls.h"

enum { THREADS = 8 };
static int epolls[THREADS];

static void wait_by(int which, int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  struct epoll_event event = {EPOLLIN, {.fd = fd}};
  fd_set in;
  switch (which) {
    case 2: MUST(poll(&p, 1, -1) == 1 && p.revents == POLLIN); return;
    case 3: MUST(epoll_wait(epolls[which], &event, 1, -1) == 1 && event.data.fd == fd); return;
    case 4:
      FD_ZERO(&in);
  FD_SET(fd, &in);
      MUST(select(fd + 1, &in, NULL, NULL, NULL) == 1);
      return;
    default: return; /* in the reading call itself */
  }
}

static void* one_thread(void* argument) {
  int which = (int)(intptr_t)argument, fd = connect_there();
  unsigned char out[4000], in[4000];
  if (which % 2) {
    sigset_t all;
    sigfillset(&all);
    MUST(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
  }
  if (which == 3) {
    struct epoll_event event = {EPOLLIN, {.fd = fd}};
    MUST((epolls[which] = epoll_create1(0)) >= 0);
    MUST(epoll_ctl(epolls[which], EPOLL_CTL_ADD, fd, &event) == 0);
  }
  for (unsigned seed = 0; !stopping(); ++seed) {
    size_t size = 1 + dice(sizeof out);
    fill(out, size, seed % 256, 0);
    write_all(fd, out, size);
    for (size_t have = 0; have < size;) {
      wait_by(which, fd);
      ssize_t n = which == 5 ? recv(fd, in + have, size - have, MSG_WAITALL) : read(fd, in + have, size - have);
      MUST(n > 0);
      have += (size_t)n;
    }
    check(in, size, seed % 256, 0);
    progress();
  }
  MUST(shutdown(fd, SHUT_WR) == 0);
  MUST(read(fd, in, 1) == 0);
  MUST(close(fd) == 0);
  return NULL;
}


/* Accepts what the server opens in the other direction. */
static void* accepter(void* argument) {
  int listener = (int)(intptr_t)argument;
  for (;;) {
    int fd = accept_from(listener);
    unsigned char byte;
    MUST(read(fd, &byte, 1) == 1);
    write_all(fd, &byte, 1);
    MUST(read(fd, &byte, 1) == 0);
    MUST(close(fd) == 0);
  }
}

static void call_back(int connection) {
  static int turns;
  if (++turns % 40) return;
  struct sockaddr_in to;
  socklen_t length = sizeof to;
  unsigned char byte = 'x';
  if (getpeername(connection, (struct sockaddr*)&to, &length) != 0) return; /* just reset */
  to.sin_port = htons((unsigned short)(server_port + 1));
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  MUST(connect(fd, (struct sockaddr*)&to, sizeof to) == 0);
  write_all(fd, &byte, 1);
  read_all(fd, &byte, 1);
  MUST(byte == 'x');
  MUST(close(fd) == 0);
}

void mode_threads(enum role role) {
  if (role == SERVER) return serve_by_poll(listen_here(20), call_back);
  pthread_t threads[THREADS], other;
  server_port++;
  int listener = listen_here(5); /* says that we are ready, too */
  server_port--;
  MUST(pthread_create(&other, NULL, accepter, (void*)(intptr_t)listener) == 0);
  for (int i = 0; i < THREADS; ++i) MUST(pthread_create(&threads[i], NULL, one_thread, (void*)(intptr_t)i) == 0);
  for (int i = 0; i < THREADS; ++i) MUST(pthread_join(threads[i], NULL) == 0);
}
