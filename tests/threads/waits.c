/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include "waits.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { HOUR = 3600 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, inheriting;
static pthread_rwlock_t read_locked = PTHREAD_RWLOCK_INITIALIZER, write_locked = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t cond_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER, timed_cond;
static int cond_round, timed_round;
static pthread_barrier_t barrier;
static sem_t sem, timed_sem;
static int read_pipe[2], poll_pipe[2], select_pipe[2], handler_pipe[2], deaf_pipe[2], event_fd, epoll_fd;

static struct timespec in_an_hour(clockid_t clock) {
  struct timespec at;
  clock_gettime(clock, &at);
  at.tv_sec += HOUR;
  return at;
}

static void put(int fd) { must(write(fd, "x", 1) == 1, "write to a pipe"); }
static void get(int fd) {
  char c;
  must(read(fd, &c, 1) == 1 && c == 'x', "read of a pipe");
}

static void arm_mutex(struct wait* w) { (void)w, must(pthread_mutex_lock(&mutex) == 0, "mutex of the first thread"); }
static void wait_mutex(struct wait* w) {
  must(pthread_mutex_lock(&mutex) == 0, w->name);
  must(pthread_mutex_unlock(&mutex) == 0, w->name);
}
static void release_mutex(struct wait* w) { must(pthread_mutex_unlock(&mutex) == 0, w->name); }

static void arm_inheriting(struct wait* w) { must(pthread_mutex_lock(&inheriting) == 0, w->name); }
static void wait_inheriting(struct wait* w) {
  must(pthread_mutex_lock(&inheriting) == 0, w->name);
  must(pthread_mutex_unlock(&inheriting) == 0, w->name);
}
static void release_inheriting(struct wait* w) { must(pthread_mutex_unlock(&inheriting) == 0, w->name); }

static void arm_rdlock(struct wait* w) { must(pthread_rwlock_wrlock(&write_locked) == 0, w->name); }
static void wait_rdlock(struct wait* w) {
  must(pthread_rwlock_rdlock(&write_locked) == 0, w->name);
  must(pthread_rwlock_unlock(&write_locked) == 0, w->name);
}
static void release_rdlock(struct wait* w) { must(pthread_rwlock_unlock(&write_locked) == 0, w->name); }

static void arm_wrlock(struct wait* w) { must(pthread_rwlock_rdlock(&read_locked) == 0, w->name); }
static void wait_wrlock(struct wait* w) {
  must(pthread_rwlock_wrlock(&read_locked) == 0, w->name);
  must(pthread_rwlock_unlock(&read_locked) == 0, w->name);
}
static void release_wrlock(struct wait* w) { must(pthread_rwlock_unlock(&read_locked) == 0, w->name); }

static void wait_cond(struct wait* w) {
  pthread_mutex_lock(&cond_mutex);
  for (int round = w->done + 1; cond_round < round;) must(pthread_cond_wait(&cond, &cond_mutex) == 0, w->name);
  pthread_mutex_unlock(&cond_mutex);
}
static void release_cond(struct wait* w) {
  pthread_mutex_lock(&cond_mutex);
  cond_round = w->done + 1;
  pthread_cond_signal(&cond);
  pthread_mutex_unlock(&cond_mutex);
}

static void wait_timed_cond(struct wait* w) {
  struct timespec end = in_an_hour(CLOCK_MONOTONIC);
  pthread_mutex_lock(&cond_mutex);
  for (int round = w->done + 1; timed_round < round;)
    must(pthread_cond_timedwait(&timed_cond, &cond_mutex, &end) == 0, w->name);
  pthread_mutex_unlock(&cond_mutex);
}
static void release_timed_cond(struct wait* w) {
  pthread_mutex_lock(&cond_mutex);
  timed_round = w->done + 1;
  pthread_cond_broadcast(&timed_cond);
  pthread_mutex_unlock(&cond_mutex);
}

static void wait_barrier(struct wait* w) {
  int r = pthread_barrier_wait(&barrier);
  must(r == 0 || r == PTHREAD_BARRIER_SERIAL_THREAD, w->name);
}

static void wait_sem(struct wait* w) { must(sem_wait(&sem) == 0, w->name); }
static void release_sem(struct wait* w) { must(sem_post(&sem) == 0, w->name); }
static void wait_timed_sem(struct wait* w) {
  struct timespec end = in_an_hour(CLOCK_REALTIME);
  must(sem_timedwait(&timed_sem, &end) == 0, w->name);
}
static void release_timed_sem(struct wait* w) { must(sem_post(&timed_sem) == 0, w->name); }

/* Only its own signal ends the sleep, and what is left of it is right. */
static void wait_sleep(struct wait* w) {
  struct timespec long_time = {HOUR, 0}, rest = {0, 0};
  double begun = monotonic();
  must(nanosleep(&long_time, &rest) == -1 && errno == EINTR, w->name);
  double slept = monotonic() - begun, left = (double)rest.tv_sec + (double)rest.tv_nsec / 1e9;
  must(slept + left < HOUR + 5 && slept + left > HOUR - 5, "what is left of a sleep");
}
static void release_by_signal(struct wait* w) { must(pthread_kill(w->thread, SIGUSR1) == 0, w->name); }

static void wait_read(struct wait* w) { (void)w, get(read_pipe[0]); }
static void release_read(struct wait* w) { (void)w, put(read_pipe[1]); }

static void wait_poll(struct wait* w) {
  struct pollfd p = {poll_pipe[0], POLLIN, 0};
  must(poll(&p, 1, HOUR * 1000) == 1 && p.revents == POLLIN, w->name);
  get(poll_pipe[0]);
}
static void release_poll(struct wait* w) { (void)w, put(poll_pipe[1]); }

static void wait_select(struct wait* w) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(select_pipe[0], &set);
  struct timeval limit = {HOUR, 0};
  must(select(select_pipe[0] + 1, &set, NULL, NULL, &limit) == 1, w->name);
  get(select_pipe[0]);
}
static void release_select(struct wait* w) { (void)w, put(select_pipe[1]); }

static void wait_epoll(struct wait* w) {
  struct epoll_event event;
  must(epoll_wait(epoll_fd, &event, 1, -1) == 1 && event.data.fd == event_fd, w->name);
  uint64_t value;
  must(read(event_fd, &value, sizeof value) == sizeof value && value == 3, "eventfd");
}
static void release_epoll(struct wait* w) {
  uint64_t three = 3;
  must(write(event_fd, &three, sizeof three) == sizeof three, w->name);
}

/* The move finds it in a signal's handler. */
static void on_usr2(int signo) {
  (void)signo;
  get(handler_pipe[0]);
}
static void wait_handler(struct wait* w) { must(raise(SIGUSR2) == 0, w->name); }
static void release_handler(struct wait* w) { (void)w, put(handler_pipe[1]); }

/* All threads block it: it waits for the process until this one takes it. */
static void wait_sigwait(struct wait* w) {
  sigset_t set;
  int got = 0;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 1);
  must(sigwait(&set, &got) == 0 && got == SIGRTMIN + 1, w->name);
}
static void release_sigwait(struct wait* w) { must(kill(getpid(), SIGRTMIN + 1) == 0, w->name); }

/* It blocks every signal, by the kernel's own call: as libc's helper threads do. So it stays. */
static uint64_t deaf(int how, uint64_t mask) {
  uint64_t before = 0;
  must(syscall(SYS_rt_sigprocmask, how, &mask, &before, sizeof mask) == 0, "rt_sigprocmask");
  return before;
}
static void wait_deaf(struct wait* w) {
  deaf(SIG_SETMASK, ~0ull);
  get(deaf_pipe[0]);
  uint64_t all = ~0ull & ~(1ull << (SIGKILL - 1)) & ~(1ull << (SIGSTOP - 1));
  must(deaf(SIG_BLOCK, 0) == all, w->name);
}
static void release_deaf(struct wait* w) { (void)w, put(deaf_pipe[1]); }

struct wait waits[] = {
    {.name = "mutex", .arm = arm_mutex, .wait = wait_mutex, .release = release_mutex},
    {.name = "PI mutex", .arm = arm_inheriting, .wait = wait_inheriting, .release = release_inheriting},
    {.name = "rdlock", .arm = arm_rdlock, .wait = wait_rdlock, .release = release_rdlock},
    {.name = "wrlock", .arm = arm_wrlock, .wait = wait_wrlock, .release = release_wrlock},
    {.name = "cond_wait", .wait = wait_cond, .release = release_cond},
    {.name = "cond_timedwait", .wait = wait_timed_cond, .release = release_timed_cond},
    {.name = "barrier", .wait = wait_barrier, .release = wait_barrier},
    {.name = "sem_wait", .wait = wait_sem, .release = release_sem},
    {.name = "sem_timedwait", .wait = wait_timed_sem, .release = release_timed_sem},
    {.name = "nanosleep", .wait = wait_sleep, .release = release_by_signal},
    {.name = "read", .wait = wait_read, .release = release_read},
    {.name = "poll", .wait = wait_poll, .release = release_poll},
    {.name = "select", .wait = wait_select, .release = release_select},
    {.name = "epoll_wait", .wait = wait_epoll, .release = release_epoll},
    {.name = "handler", .wait = wait_handler, .release = release_handler},
    {.name = "deaf", .wait = wait_deaf, .release = release_deaf},
    {.name = "sigwait", .wait = wait_sigwait, .release = release_sigwait},
};
const int wait_count = sizeof waits / sizeof *waits;

void begin_waits(void) {
  pthread_mutexattr_t mutex_kind;
  pthread_mutexattr_init(&mutex_kind);
  pthread_mutexattr_setprotocol(&mutex_kind, PTHREAD_PRIO_INHERIT);
  pthread_mutex_init(&inheriting, &mutex_kind);
  pthread_condattr_t cond_kind;
  pthread_condattr_init(&cond_kind);
  pthread_condattr_setclock(&cond_kind, CLOCK_MONOTONIC);
  pthread_cond_init(&timed_cond, &cond_kind);
  pthread_barrier_init(&barrier, NULL, 2);
  sem_init(&sem, 0, 0);
  sem_init(&timed_sem, 0, 0);
  must(pipe(read_pipe) == 0 && pipe(poll_pipe) == 0 && pipe(select_pipe) == 0 && pipe(handler_pipe) == 0 && pipe(deaf_pipe) == 0, "pipe");
  event_fd = eventfd(0, 0);
  epoll_fd = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = event_fd};
  must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &event) == 0, "epoll_ctl");
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_usr2;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &action, NULL);
}
