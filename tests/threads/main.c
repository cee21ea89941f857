/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * threads ADDRESS PORT [PEER]: a process with many threads, in every way of waiting (waits.c), with locks that
 * they hold, and a peer of its own kind that it talks with; it checks by itself that nothing of it changes while it moves.
 * Without PEER it listens. Each line on standard input is a command, answered with "ok ..." or "FAILED ...":
 *   check   everybody is released, must have seen the right thing, and waits again
 *   ids     its process id
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "waits.h"

enum { LIMIT = 60, COMPUTING = 3 };

static pid_t process;
static atomic_int round_now, stop, usr1_count;
static pthread_mutex_t gate_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate = PTHREAD_COND_INITIALIZER;
static _Thread_local long thread_number;

void must(int good, const char* what) {
  if (good) return;
  printf("FAILED %s: %s (process %d, thread %d, round %d)\n", what, strerror(errno), getpid(), gettid(), round_now);
  fflush(stdout);
  _exit(1);
}

static double seconds_of(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
double monotonic(void) { return seconds_of(CLOCK_MONOTONIC); }

void wait_until(int (*good)(void*), void* argument, const char* what) {
  struct timespec pause = {0, 2000000};
  for (double end = monotonic() + LIMIT; !good(argument);) {
    must(monotonic() < end, what);
    nanosleep(&pause, NULL);
  }
}

static void open_gate(int round) {
  pthread_mutex_lock(&gate_mutex);
  round_now = round;
  pthread_cond_broadcast(&gate);
  pthread_mutex_unlock(&gate_mutex);
}

static void same_thread(pid_t tid, pthread_t self, long number) {
  must(gettid() == tid, "gettid");
  must(getpid() == process, "getpid");
  must(pthread_equal(pthread_self(), self), "pthread_self");
  must(thread_number == number, "thread-local storage");
}

static void* waiting(void* argument) {
  struct wait* w = argument;
  long number = thread_number = w - waits + 100;
  pid_t tid = w->tid = gettid();
  for (int round = 1;; ++round) {
    pthread_mutex_lock(&gate_mutex);
    while (round_now < round && !stop) pthread_cond_wait(&gate, &gate_mutex);
    pthread_mutex_unlock(&gate_mutex);
    if (stop) return (void*)number;
    w->armed = round;
    w->wait(w);
    same_thread(tid, w->thread, number);
    w->done = round;
  }
}

/* It sleeps in the kernel, as the kernel tells under its own id. */
static int stands(void* argument) {
  struct wait* w = argument;
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", w->tid);
  FILE* file = fopen(path, "r");
  if (!file) return 0;
  size_t n = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[n] = 0;
  const char* end = strrchr(text, ')');
  return w->armed == round_now && end && end[2] == 'S';
}
static int is_done(void* argument) { return ((struct wait*)argument)->done == round_now; }

/* Numbers in order, over and over, in integer and floating registers. */
static void* computing(void* argument) {
  long number = thread_number = (long)argument;
  pid_t tid = gettid();
  pthread_t self = pthread_self();
  long turns = 0;
  for (; !stop; ++turns) {
    uint64_t x = 88172645463325252ull + (uint64_t)number, sum = 0;
    double series = 0;
    for (int i = 1; i <= 20000; ++i) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      sum += x;
      series += 1.0 / ((double)i * i);
    }
    static _Thread_local uint64_t first_sum;
    if (!turns) first_sum = sum;
    must(sum == first_sum && series > 1.6448 && series < 1.6450, "a computation");
    same_thread(tid, self, number);
  }
  return (void*)number;
}

/* Never back, and never further than the world's clock. */
static void* watching_clock(void* argument) {
  (void)argument;
  double since = seconds_of(CLOCK_REALTIME), mono = monotonic(), boot = seconds_of(CLOCK_BOOTTIME);
  while (!stop) {
    double before = seconds_of(CLOCK_REALTIME), m = monotonic(), b = seconds_of(CLOCK_BOOTTIME), now = seconds_of(CLOCK_REALTIME);
    must(m >= mono, "a monotonic clock that goes back");
    must(b >= boot, "a boot clock that goes back");
    must(m - mono < now - since + 0.1 && b - boot < now - since + 0.1, "a clock that jumps");
    mono = m, boot = b, since = before;
  }
  return NULL;
}

static void* sleeping(void* argument) {
  (void)argument;
  while (!stop) {
    struct timespec short_time = {0, 30000000}, rest = {0, 0}, at;
    double begun = monotonic();
    must(nanosleep(&short_time, &rest) == 0, "a short nanosleep");
    must(monotonic() - begun >= 0.0299, "a nanosleep that was too short");
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += 40000000;
    if (at.tv_nsec >= 1000000000) at.tv_nsec -= 1000000000, ++at.tv_sec;
    must(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == 0, "clock_nanosleep");
    must(monotonic() >= (double)at.tv_sec + (double)at.tv_nsec / 1e9, "a clock_nanosleep that was too short");
  }
  return NULL;
}

/* Locks that one thread holds while it moves. */
static pthread_mutex_t recursive, strict, robust, dying;
static pthread_rwlock_t written = PTHREAD_RWLOCK_INITIALIZER;
static sem_t holder_turn, holder_done, dying_turn, dying_holds;

static void take_locks(void) {
  for (int i = 0; i < 3; ++i) must(pthread_mutex_lock(&recursive) == 0, "recursive mutex");
  must(pthread_mutex_lock(&strict) == 0, "errorcheck mutex");
  must(pthread_mutex_lock(&robust) == 0, "robust mutex");
  must(pthread_rwlock_wrlock(&written) == 0, "rwlock");
}
static void* holding(void* argument) {
  (void)argument;
  for (take_locks();;) {
    sem_post(&holder_done);
    while (sem_wait(&holder_turn) != 0) {
    }
    for (int i = 0; i < 3; ++i) must(pthread_mutex_unlock(&recursive) == 0, "unlock of a recursive mutex");
    must(pthread_mutex_unlock(&recursive) == EPERM, "a recursive mutex that is free");
    must(pthread_mutex_lock(&strict) == EDEADLK, "errorcheck mutex that is held");
    must(pthread_mutex_unlock(&strict) == 0, "unlock of an errorcheck mutex");
    must(pthread_mutex_unlock(&robust) == 0, "unlock of a robust mutex");
    must(pthread_rwlock_wrlock(&written) == EDEADLK, "rwlock that is held");
    must(pthread_rwlock_unlock(&written) == 0, "unlock of an rwlock");
    if (stop) return NULL;
    take_locks();
  }
}
/* It lives through the move and ends with a lock in its hand. */
static void* ending(void* argument) {
  must(pthread_mutex_lock(&dying) == 0, "lock of a mutex whose owner will end");
  sem_post(&dying_holds);
  while (sem_wait(&dying_turn) != 0) {
  }
  return (char*)argument + 7;
}

static pthread_t ending_thread;
static void start_ending(void) {
  pthread_create(&ending_thread, NULL, ending, (void*)(long)round_now);
  while (sem_wait(&dying_holds) != 0) {
  }
}
static void check_ending(void) {
  void* result;
  sem_post(&dying_turn);
  must(pthread_join(ending_thread, &result) == 0 && (long)result == round_now + 7, "pthread_join");
  must(pthread_mutex_lock(&dying) == EOWNERDEAD, "the mutex of a thread that has ended");
  must(pthread_mutex_consistent(&dying) == 0 && pthread_mutex_unlock(&dying) == 0, "pthread_mutex_consistent");
}

/* Bytes in a known order to the peer and from it, each way by a thread of its own. */
static int peer = -1;
static atomic_long sent_bytes, received_bytes;
static void* sending(void* argument) {
  unsigned char block[4096], next = 0;
  for (;;) {
    if (stop) break;
    for (size_t i = 0; i < sizeof block; ++i) block[i] = next++;
    for (size_t done = 0; done < sizeof block;) {
      ssize_t n = send(peer, block + done, sizeof block - done, MSG_NOSIGNAL);
      must(n > 0, "send");
      done += (size_t)n;
      sent_bytes += n;
    }
  }
  shutdown(peer, SHUT_WR);
  return argument;
}
static void* receiving(void* argument) {
  unsigned char block[8192], next = 0;
  for (ssize_t n; (n = recv(peer, block, sizeof block, 0)) != 0;) {
    must(n > 0, "recv");
    for (ssize_t i = 0; i < n; ++i) must(block[i] == next++, "a byte that was received");
    received_bytes += n;
  }
  return argument;
}
static int more_received(void* before) { return received_bytes > *(long*)before + 100000; }

static void meet(const char* address, int port, const char* other) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (!other) {
    inet_pton(AF_INET, address, &at.sin_addr);
    must(bind(fd, (struct sockaddr*)&at, sizeof at) == 0 && listen(fd, 5) == 0, "listen");
    printf("threads: listening\n");
    peer = accept(fd, NULL, NULL);
    close(fd);
  } else {
    inet_pton(AF_INET, other, &at.sin_addr);
    must(connect(fd, (struct sockaddr*)&at, sizeof at) == 0, "connect");
    printf("threads: connected\n");
    peer = fd;
  }
  must(peer >= 0, "accept");
}

static void on_usr1(int signo) { (void)signo, ++usr1_count; }
static int usr1_came(void* wanted) { return usr1_count >= *(int*)wanted; }

/* A timer whose expiries are threads: libc has a helper for it that waits for the kernel's signal under its own id. */
static atomic_int timer_threads;
static void in_timer_thread(union sigval value) {
  must(value.sival_int == 4711 && getpid() == process, "a timer's thread");
  ++timer_threads;
}
static int timer_came(void* wanted) { return timer_threads >= *(int*)wanted; }
static timer_t start_timer(void) {
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = in_timer_thread;
  event.sigev_value.sival_int = 4711;
  timer_t timer;
  struct itimerspec every = {{0, 40000000}, {0, 40000000}};
  must(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &every, NULL) == 0, "a timer with threads");
  return timer;
}

static pthread_t computers[COMPUTING];

static void arm(void) {
  for (int i = 0; i < wait_count; ++i)
    if (waits[i].arm) waits[i].arm(&waits[i]);
  open_gate(round_now + 1);
  start_ending();
  for (int i = 0; i < wait_count; ++i) wait_until(stands, &waits[i], waits[i].name);
}

static void release(void) {
  for (int i = 0; i < wait_count; ++i) {
    waits[i].release(&waits[i]);
    wait_until(is_done, &waits[i], waits[i].name);
  }
  sem_post(&holder_turn);
  while (sem_wait(&holder_done) != 0) {
  }
  check_ending();
  int wanted = timer_threads + 2;
  wait_until(timer_came, &wanted, "a timer's threads");
  wanted = usr1_count + 1;
  must(pthread_kill(computers[round_now % COMPUTING], SIGUSR1) == 0, "pthread_kill");
  wait_until(usr1_came, &wanted, "a signal by pthread_kill");
  ++wanted;
  must(kill(process, SIGUSR1) == 0, "kill of itself");
  wait_until(usr1_came, &wanted, "a signal by kill");
}

static void check_child(void) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) _exit(getppid() == process ? 7 : 8);
  int status;
  must(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7, "a child process");
}

static void make_locks(void) {
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&recursive, &kind);
  pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_init(&strict, &kind);
  pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robust, &kind);
  pthread_mutex_init(&dying, &kind);
  sem_init(&holder_turn, 0, 0);
  sem_init(&holder_done, 0, 0);
  sem_init(&dying_turn, 0, 0);
  sem_init(&dying_holds, 0, 0);
}

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  process = getpid();
  must(argc >= 3 && gettid() == process, "usage: threads ADDRESS PORT [PEER]");
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGRTMIN + 1);
  pthread_sigmask(SIG_BLOCK, &blocked, NULL);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_usr1;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, NULL);
  meet(argv[1], atoi(argv[2]), argc > 3 ? argv[3] : NULL);
  make_locks();
  begin_waits();
  pthread_t others[5];
  void* (*bodies[])(void*) = {watching_clock, sleeping, holding, sending, receiving};
  for (int i = 0; i < 5; ++i) must(pthread_create(&others[i], NULL, bodies[i], NULL) == 0, "pthread_create");
  while (sem_wait(&holder_done) != 0) {
  }
  for (long i = 0; i < COMPUTING; ++i) must(pthread_create(&computers[i], NULL, computing, (void*)(i + 1)) == 0, "pthread_create");
  for (int i = 0; i < wait_count; ++i) must(pthread_create(&waits[i].thread, NULL, waiting, &waits[i]) == 0, "pthread_create");
  timer_t timer = start_timer();
  arm();
  printf("threads: ready\n");
  for (char line[64]; fgets(line, sizeof line, stdin);) {
    must(getpid() == process && gettid() == process, "the first thread's ids");
    if (strcmp(line, "check\n") == 0) {
      release();
      long before = received_bytes;
      wait_until(more_received, &before, "more from the peer");
      check_child();
      arm();
      printf("ok %d\n", round_now);
    } else {
      printf("ok %d\n", process);
    }
  }
  release();
  must(timer_delete(timer) == 0, "timer_delete");
  stop = 1;
  open_gate(round_now);
  for (int i = 0; i < wait_count; ++i) {
    void* result;
    must(pthread_join(waits[i].thread, &result) == 0 && (long)result == i + 100, "join of a waiting thread");
  }
  sem_post(&holder_turn);
  for (int i = 0; i < COMPUTING; ++i) must(pthread_join(computers[i], NULL) == 0, "join of a computing thread");
  for (int i = 0; i < 5; ++i) must(pthread_join(others[i], NULL) == 0, "join");
  printf("threads: OK rounds=%d sent=%ld received=%ld\n", round_now, sent_bytes, received_bytes);
  return 0;
}
