/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Descriptors that tell of events, signals and timers; see resources.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

#include "resources.h"

static int ready(int fd, int ms) {
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, ms) == 1;
}

/* pipes and eventfds in an epoll set, with what is in them; pipes whose other end nobody has any more */
static int ends[2], counter, semaphore, set, last_reader, last_writer;
static int hold_pipes(void) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1234567812345678};
  MUST(!pipe2(ends, O_NONBLOCK | O_CLOEXEC) && write(ends[1], "inside", 6) == 6);
  MUST((counter = eventfd(5, EFD_NONBLOCK)) >= 0 && (semaphore = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK)) >= 0);
  MUST((set = epoll_create1(EPOLL_CLOEXEC)) >= 0 && !epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
  int left[2], right[2];
  MUST(!pipe(left) && write(left[1], "leftover", 8) == 8 && !close(left[1]) && !pipe(right) && !close(right[0]));
  last_reader = left[0];
  last_writer = right[1];
  return 1;
}
static int check_pipes(void) {
  char text[16] = "";
  uint64_t value = 0;
  struct epoll_event event;
  MUST(epoll_wait(set, &event, 1, 0) == 1 && event.data.u64 == 0x1234567812345678);
  MUST(read(ends[0], text, sizeof text) == 6 && !strcmp(text, "inside") && read(ends[0], text, 1) < 0 && errno == EAGAIN);
  MUST(epoll_wait(set, &event, 1, 0) == 0 && write(ends[1], "inside", 6) == 6);
  MUST(read(counter, &value, 8) == 8 && value == 5 && write(counter, &value, 8) == 8);
  MUST(read(semaphore, &value, 8) == 8 && value == 1 && write(semaphore, &value, 8) == 8);
  MUST((fcntl(ends[0], F_GETFL) & O_NONBLOCK) && fcntl(ends[0], F_GETFD) == FD_CLOEXEC);
  static size_t had;  /* a byte each time, until the end comes */
  MUST(read(last_reader, text, 1) == (had < 8) && (had == 8 || text[0] == "leftover"[had++]));
  struct pollfd broken = {last_writer, POLLOUT, 0};
  MUST(signal(SIGPIPE, SIG_IGN) != SIG_ERR && poll(&broken, 1, 0) == 1 && broken.revents & POLLERR);
  MUST(write(last_writer, "x", 1) < 0 && errno == EPIPE);
  return 1;
}
static int free_pipes(void) {
  MUST(!close(ends[0]) && !close(ends[1]) && !close(counter) && !close(semaphore) && !close(set));
  MUST(read(last_reader, (char[16]){0}, 16) <= 8 && read(last_reader, (char[1]){0}, 1) == 0);
  MUST(!close(last_reader) && !close(last_writer));
  return 1;
}

/* timerfds: one that runs, one that has gone off and was not read, one for a day of the calendar, a copy, one in an epoll set */
static int running, expired, calendar, running_copy, timer_set;
static struct itimerspec calendar_at;
static int hold_timerfd(void) {
  struct itimerspec far = {{100, 0}, {1000, 0}}, soon = {{0, 0}, {0, 1}};
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77};
  MUST((running = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) >= 0 && !timerfd_settime(running, 0, &far, NULL));
  MUST((running_copy = dup(running)) >= 0);
  MUST((expired = timerfd_create(CLOCK_BOOTTIME, 0)) >= 0 && !timerfd_settime(expired, 0, &soon, NULL) && ready(expired, 10000));
  MUST((calendar = timerfd_create(CLOCK_REALTIME, 0)) >= 0);
  MUST(!clock_gettime(CLOCK_REALTIME, &calendar_at.it_value));
  calendar_at.it_value.tv_sec += 500;
  MUST(!timerfd_settime(calendar, TFD_TIMER_ABSTIME, &calendar_at, NULL));
  MUST((timer_set = epoll_create1(0)) >= 0 && !epoll_ctl(timer_set, EPOLL_CTL_ADD, expired, &event));
  return 1;
}
static int check_timerfd(void) {
  struct itimerspec left, at_once = {{0, 0}, {0, 1}}, far = {{100, 0}, {1000, 0}};
  struct timespec now;
  struct epoll_event event;
  uint64_t rounds = 0;
  MUST(!timerfd_gettime(running, &left) && left.it_value.tv_sec > 700 && left.it_value.tv_sec <= 1000 && left.it_interval.tv_sec == 100);
  MUST(fcntl(running, F_GETFL) & O_NONBLOCK);
  /* a copy is the same timer */
  MUST(!timerfd_settime(running_copy, 0, &at_once, NULL) && ready(running, 10000) && read(running, &rounds, 8) == 8);
  MUST(!timerfd_settime(running_copy, 0, &far, NULL));
  MUST(epoll_wait(timer_set, &event, 1, 0) == 1 && event.data.u64 == 77);
  rounds = 0;
  MUST(read(expired, &rounds, 8) == 8 && rounds == 1 && !timerfd_settime(expired, 0, &at_once, NULL) && ready(expired, 10000));
  MUST(!timerfd_gettime(calendar, &left) && !clock_gettime(CLOCK_REALTIME, &now));
  MUST(labs(now.tv_sec + left.it_value.tv_sec - calendar_at.it_value.tv_sec) <= 1);
  return 1;
}
static int free_timerfd(void) {
  MUST(!close(running) && !close(running_copy) && !close(expired) && !close(calendar) && !close(timer_set));
  return 1;
}

/* signalfd, dispositions, mask, alternate stack, signals that wait with what came with them */
static int sigfd;
static char other_stack[65536];
static volatile sig_atomic_t on_other_stack;
static void handler(int number) {
  char here;
  on_other_stack = number == SIGUSR1 && &here >= other_stack && &here < other_stack + sizeof other_stack;
}
static int queue_three(void) {
  for (int i = 1; i <= 3; ++i) MUST(!sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = i * 111}));
  return 1;
}
static int hold_signals(void) {
  sigset_t set;
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
  stack_t stack = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 3);
  sigaddset(&set, SIGUSR2);
  MUST(!sigprocmask(SIG_BLOCK, &set, NULL) && (sigfd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)) >= 0);
  sigaddset(&action.sa_mask, SIGWINCH);
  MUST(!sigaltstack(&stack, NULL) && !sigaction(SIGUSR1, &action, NULL) && signal(SIGHUP, SIG_IGN) != SIG_ERR);
  return queue_three();
}
static int check_signals(void) {
  struct signalfd_siginfo info;
  struct sigaction action;
  for (unsigned i = 1; i <= 3; ++i) {
    MUST(read(sigfd, &info, sizeof info) == sizeof info && info.ssi_signo == (unsigned)SIGRTMIN + 3);
    MUST(info.ssi_int == (int)i * 111 && info.ssi_code == SI_QUEUE);
  }
  MUST(read(sigfd, &info, sizeof info) < 0 && errno == EAGAIN);
  on_other_stack = 0;
  MUST(!raise(SIGUSR1) && on_other_stack && !raise(SIGHUP));
  MUST(!sigaction(SIGUSR1, NULL, &action) && (action.sa_flags & SA_RESTART) && sigismember(&action.sa_mask, SIGWINCH));
  return queue_three();
}
static int free_signals(void) {
  struct signalfd_siginfo info;
  while (read(sigfd, &info, sizeof info) > 0) {
  }
  MUST(!close(sigfd));
  return 1;
}

/* interval timers; POSIX timers with numbers that have gaps, by signal and to a thread, by several clocks */
static volatile sig_atomic_t went_off, value_of;
static timer_t far_timer, gap_timer, soon_timer, cpu_timer;
static void on_timer(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  value_of = info->si_value.sival_int;
  ++went_off;
}
static int kernel_number(timer_t timer) { return (int)(long)timer; }
static int hold_timers(void) {
  struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO};
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 5, .sigev_value.sival_int = 4711};
  struct sigevent quiet = {.sigev_notify = SIGEV_NONE};
  struct itimerspec far = {{7, 0}, {900, 0}};
  struct itimerval real = {{0, 0}, {800, 0}}, cpu = {{3, 0}, {600, 0}};
  MUST(!sigaction(SIGRTMIN + 5, &action, NULL));
  MUST(!timer_create(CLOCK_MONOTONIC, &quiet, &gap_timer) && !timer_create(CLOCK_MONOTONIC, &event, &far_timer));
  MUST(!timer_settime(far_timer, 0, &far, NULL) && !timer_delete(gap_timer));
  for (int i = 0; i < 3000; ++i) MUST(!timer_create(CLOCK_REALTIME, &quiet, &gap_timer) && !timer_delete(gap_timer));
  struct sigevent thread = event;
  thread.sigev_notify = SIGEV_THREAD_ID;
  thread._sigev_un._tid = (int)syscall(SYS_gettid);
  MUST(!timer_create(CLOCK_REALTIME, &thread, &soon_timer) && kernel_number(soon_timer) > 3000);
  clockid_t own;
  MUST(!clock_getcpuclockid(getpid(), &own) && !timer_create(own, &quiet, &cpu_timer) && !timer_settime(cpu_timer, 0, &far, NULL));
  MUST(!setitimer(ITIMER_REAL, &real, NULL) && !setitimer(ITIMER_VIRTUAL, &cpu, NULL));
  return 1;
}
static int check_timers(void) {
  struct itimerspec left, soon = {{0, 0}, {0, 1}};
  struct itimerval value;
  MUST(!timer_gettime(far_timer, &left) && left.it_value.tv_sec > 600 && left.it_value.tv_sec <= 900 && left.it_interval.tv_sec == 7);
  MUST(!timer_gettime(cpu_timer, &left) && left.it_value.tv_sec > 600 && left.it_value.tv_sec <= 900);
  went_off = value_of = 0;
  MUST(!timer_settime(soon_timer, 0, &soon, NULL));
  while (!went_off) usleep(1000);
  MUST(value_of == 4711);
  MUST(!getitimer(ITIMER_REAL, &value) && value.it_value.tv_sec > 500 && value.it_value.tv_sec <= 800);
  MUST(!getitimer(ITIMER_VIRTUAL, &value) && value.it_value.tv_sec > 300 && value.it_interval.tv_sec == 3);
  return 1;
}
static int free_timers(void) {
  struct itimerval none = {{0, 0}, {0, 0}};
  MUST(!timer_delete(far_timer) && !timer_delete(soon_timer) && !timer_delete(cpu_timer));
  MUST(!setitimer(ITIMER_REAL, &none, NULL) && !setitimer(ITIMER_VIRTUAL, &none, NULL));
  return 1;
}

int main(int argc, char** argv) {
  static const struct test_case cases[] = {{"pipes", hold_pipes, check_pipes, free_pipes},
                                           {"timerfd", hold_timerfd, check_timerfd, free_timerfd},
                                           {"signals", hold_signals, check_signals, free_signals},
                                           {"timers", hold_timers, check_timers, free_timers},
                                           {0}};
  return serve("ms_events", cases, argc, argv);
}
