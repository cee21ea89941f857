// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Interval timers (setitimer) and POSIX timers (timer_create). The time that is left goes along; no time passes for them while
// their process stands still. A program knows its POSIX timers by the kernel's number, so each gets its number again.
#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"

namespace msocket::checkpoint {

namespace {

constexpr int kMax = 128;
constexpr int kRestoreIds = 77;    // PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15
constexpr long kMostAttempts = 100000;  // without it: the kernel counts up, and each number in between is made and deleted

struct KernelSigevent {
  uint64_t value;
  int signal, notify, thread;
  int pad[11];
};
static_assert(sizeof(KernelSigevent) == 64);

struct Timer {
  int id, clock;
  KernelSigevent event;
  itimerspec left;
};
Timer list[kMax];
int count;
itimerval intervals[3];
long pid_before;
char text[16384];  // here, for a signal's stack may be small

void begin() { count = 0; }

// Of the clock of a process or a thread: whose? (The kernel keeps the complement, shifted; see clock_getcpuclockid.)
long owner_of(int clock) { return ~(static_cast<long>(clock) >> 3); }

bool parse(const char** at, Timer* timer, long* target) {
  const char* words = *at;
  *timer = {};
  if (!take_word(&words, "ID:")) return false;
  timer->id = static_cast<int>(take_number(&words, 10));
  words = next_line(words);
  if (!take_word(&words, "signal:")) return false;
  timer->event.signal = static_cast<int>(take_number(&words, 10));
  if (!take_word(&words, "/")) return false;
  timer->event.value = static_cast<uint64_t>(take_number(&words, 16));
  words = next_line(words);
  if (!take_word(&words, "notify:")) return false;
  if (take_word(&words, "none/")) timer->event.notify = SIGEV_NONE;
  else if (take_word(&words, "signal/")) timer->event.notify = SIGEV_SIGNAL;
  else if (take_word(&words, "thread/")) timer->event.notify = SIGEV_THREAD;
  else return false;
  if (take_word(&words, "tid.")) timer->event.notify |= SIGEV_THREAD_ID;
  else if (!take_word(&words, "pid.")) return false;
  *target = take_number(&words, 10);
  words = next_line(words);
  if (!take_word(&words, "ClockID:")) return false;
  timer->clock = static_cast<int>(take_number(&words, 10));
  *at = next_line(words);
  return true;
}

void refuse(Refusal* why, int id, const char* reason) {
  why->add("its timer number ");
  why->add(static_cast<long>(id));
  why->add(reason);
  why->end();
}

void look(Refusal* why) {
  pid_before = raw::getpid();
  for (int i = 0; i < 3; ++i) raw::sys(SYS_getitimer, i, &intervals[i]);
  long n = read_text("/proc/self/timers", text, sizeof text);
  for (const char* at = text; n > 0 && *at;) {
    Timer timer;
    long target;
    if (!parse(&at, &timer, &target) || count == kMax) {
      refuse(why, timer.id, count == kMax ? ": too many timers" : " cannot be read");
      return;
    }
    if ((timer.event.notify & SIGEV_THREAD_ID)) {
      timer.event.thread = static_cast<int>(target);
      char task[64];
      number_path("/proc/self/task/", target, task);
      if (raw::sys(SYS_access, task, 0) != 0) refuse(why, timer.id, " tells a thread that is not there");
    }
    if (timer.clock < 0 && owner_of(timer.clock) && owner_of(timer.clock) != pid_before)
      refuse(why, timer.id, " runs by another process's clock");
    raw::sys(SYS_timer_gettime, timer.id, &timer.left);
    // By number: where the kernel only counts up they must be made in that order.
    int place = count++;
    for (; place > 0 && list[place - 1].id > timer.id; --place) list[place] = list[place - 1];
    list[place] = timer;
  }
  // No such file: a kernel that does not tell. Does it have any?
  for (int id = 0; n == -ENOENT && id < 64; ++id)
    if (itimerspec left; raw::sys(SYS_timer_gettime, id, &left) == 0) return refuse(why, id, " is not told of by this kernel");
}

long create(const Timer& timer, bool exact) {
  int clock = timer.clock;
  if (clock < 0 && owner_of(clock) == pid_before) clock = static_cast<int>((~raw::getpid()) << 3) | (clock & 7);
  KernelSigevent event = timer.event;
  // Threads keep their ids; a process that has but one and no namespace here has another.
  if ((event.notify & SIGEV_THREAD_ID) && raw::getpid() != pid_before) event.thread = static_cast<int>(raw::gettid());
  int id = timer.id;
  if (exact) {
    long r = raw::sys(SYS_timer_create, clock, &event, &id);
    return r == 0 && id != timer.id ? -EINVAL : r;
  }
  for (long attempt = 0; attempt < kMostAttempts; ++attempt) {
    long r = raw::sys(SYS_timer_create, clock, &event, &id);
    if (r != 0 || id == timer.id) return r;
    raw::sys(SYS_timer_delete, id);
  }
  return -EAGAIN;
}

bool restore(Refusal* why) {
  bool exact = count && raw::sys(SYS_prctl, kRestoreIds, 1, 0, 0, 0) == 0;
  long r = 0;
  for (int i = 0; i < count && r == 0; ++i) {
    r = create(list[i], exact);
    const timespec& left = list[i].left.it_value;
    if (r == 0 && (left.tv_sec || left.tv_nsec)) r = raw::sys(SYS_timer_settime, list[i].id, 0, &list[i].left, nullptr);
    if (r != 0) refuse(why, list[i].id, " cannot be made again");
  }
  if (exact) raw::sys(SYS_prctl, kRestoreIds, 0, 0, 0, 0);
  for (int i = 0; i < 3; ++i) {
    itimerval timer = intervals[i];
    // One that has run down and waits for its signal to be taken before it starts again. 0 would end it.
    if (!timer.it_value.tv_sec && !timer.it_value.tv_usec && (timer.it_interval.tv_sec || timer.it_interval.tv_usec))
      timer.it_value.tv_usec = 1;
    raw::sys(SYS_setitimer, i, &timer, nullptr);
  }
  return r == 0;
}

}  // namespace

extern const Resource timers;
const Resource timers{.begin = begin, .look = look, .restore = restore};

}  // namespace msocket::checkpoint
