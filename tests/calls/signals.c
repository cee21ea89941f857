/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * A program with signals of its own in the middle of blocking calls: the handlers run, a call ends with EINTR when POSIX says so
 * and only then, and no byte is wrong. The library's signal cannot be taken.
 */
#include <setjmp.h>

#include "calls.h"

static volatile sig_atomic_t alarms, users, side = -1, jump;
static sigjmp_buf target;

static void on_alarm(int number) {
  int error = errno;
  if (number != SIGALRM) _exit(3);
  ++alarms;
  /* What POSIX allows in a handler. */
  if (side >= 0 && alarms % 8 == 0) send(side, "s", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  errno = error;
  if (jump) {
    jump = 0;
    siglongjmp(target, 1);
  }
}

static void on_user(int number, siginfo_t* info, void* context) {
  if (number != SIGUSR1 || info->si_signo != SIGUSR1 || info->si_pid != getpid() || !context) _exit(4);
  ++users;
}

static void handle_alarm(int flags) {
  struct sigaction action, old;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_alarm;
  action.sa_flags = flags;
  MUST(sigaction(SIGALRM, &action, NULL) == 0);
  MUST(sigaction(SIGALRM, NULL, &old) == 0);
  MUST(old.sa_handler == on_alarm && (old.sa_flags & ~0x04000000 /* SA_RESTORER */) == flags);
}

static void every_ms(int ms) {
  struct itimerval timer = {{0, ms * 1000}, {0, ms * 1000}};
  MUST(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

/* Without SA_RESTART: waiting for what never comes ends with EINTR, and else nothing is lost. */
static void interrupted(int fd, int idle) {
  unsigned char out[3000], in[3000];
  size_t size = 1 + dice(sizeof out), done = 0, have = 0;
  handle_alarm(0);
  MUST(read(idle, in, 1) < 0 && errno == EINTR);
  MUST(recv(idle, in, 2, MSG_WAITALL) < 0 && errno == EINTR);
  fill(out, size, 7, 0);
  while (done < size) {
    ssize_t n = write(fd, out + done, size - done);
    MUST(n > 0 || errno == EINTR);
    if (n > 0) done += (size_t)n;
  }
  while (have < size) {
    ssize_t n = read(fd, in + have, size - have);
    MUST(n > 0 || (n < 0 && errno == EINTR));
    if (n > 0) have += (size_t)n;
  }
  check(in, size, 7, 0);
  /* Out of a call by a jump: the library must not keep anything locked. */
  if (sigsetjmp(target, 1) == 0) {
    jump = 1;
    for (;;) read(idle, in, 1);
  }
}

/* With SA_RESTART: only what waits for descriptors ends early, which it always does. */
static void restarted(int fd, int idle) {
  struct pollfd p = {idle, POLLIN, 0};
  struct epoll_event event = {EPOLLIN, {.fd = idle}};
  handle_alarm(SA_RESTART);
  for (int i = 0; i < 5; ++i) echo_round(fd, 1 + dice(3000));
  MUST(poll(&p, 1, -1) < 0 && errno == EINTR);
  fd_set in;
  FD_ZERO(&in);
  FD_SET(idle, &in);
  MUST(select(idle + 1, &in, NULL, NULL, NULL) < 0 && errno == EINTR);
  int set = epoll_create1(0);
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, idle, &event) == 0);
  MUST(epoll_wait(set, &event, 1, -1) < 0 && errno == EINTR);
  MUST(close(set) == 0);
}

static void own_signals(int under) {
  struct sigaction action, old;
  sigset_t all, now;
  int before = users;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_user;
  action.sa_flags = (int)(SA_SIGINFO | SA_RESETHAND);
  MUST(sigaction(SIGUSR1, &action, &old) == 0);
  MUST(kill(getpid(), SIGUSR1) == 0 && users == before + 1);
  MUST(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == SIG_DFL); /* reset */
  if (under) {
    errno = 0;
    action.sa_handler = SIG_IGN;
    MUST(sigaction(60, &action, NULL) < 0 && errno == EINVAL);
    MUST(signal(60, SIG_IGN) == SIG_ERR);
  }
  sigfillset(&all);
  MUST(sigprocmask(SIG_SETMASK, &all, &old.sa_mask) == 0);
  MUST(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && sigismember(&now, SIGUSR1) && (!under || !sigismember(&now, 60)));
  /* A program that takes all signals by a call does not take the library's. */
  struct timespec little = {0, 8000000};
  int got = sigtimedwait(&all, NULL, &little);
  MUST(got == SIGALRM || (got < 0 && (errno == EAGAIN || errno == EINTR)));
  MUST(raise(SIGUSR1) == 0);
  do MUST(sigwait(&all, &got) == 0 && (got == SIGALRM || got == SIGUSR1));
  while (got != SIGUSR1);
  MUST(sigprocmask(SIG_SETMASK, &old.sa_mask, NULL) == 0);
}

/* Everything with SA_RESTART, as by signal(): none of these calls ever fails. Connections come in pairs; nobody reads the
 * first of them, which the client's handler writes to. */
static void serve_restarted(void) {
  int listener = listen_here(5);
  MUST(signal(SIGALRM, on_alarm) == SIG_DFL);
  MUST(signal(SIGALRM, on_alarm) == on_alarm);
  every_ms(3);
  while (!stopping()) {
    int unread = accept_from(listener);
    echo_until_end(accept_from(listener));
    MUST(close(unread) == 0);
  }
}

/* The server may stand in accept: it shall look again. It may also have gone. */
static void wake_server(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)server_port)};
  inet_pton(AF_INET, server_address, &to.sin_addr);
  for (int i = 0; i < 2; ++i) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr*)&to, sizeof to) != 0) MUST(errno == ECONNREFUSED);
    close(fd);
  }
}

void mode_signals(enum role role) {
  if (role == SERVER) return serve_restarted();
  int under = getenv("MSOCKET_CONTROL") != NULL;
  ready();
  while (!stopping()) {
    unsigned char byte;
    handle_alarm(SA_RESTART);
    every_ms(4);
    int unread = connect_there(), fd = connect_there();
    side = unread;
    for (int i = 0; i < 3; ++i) {
      own_signals(under);
      restarted(fd, fd);
      interrupted(fd, fd);
      progress();
    }
    side = -1;
    handle_alarm(SA_RESTART);
    MUST(shutdown(fd, SHUT_WR) == 0);
    MUST(read(fd, &byte, 1) == 0);
    MUST(close(fd) == 0 && close(unread) == 0);
    every_ms(0);
    poll(NULL, 0, (int)dice(20)); /* so that the server waits for the next */
  }
  wake_server();
}
