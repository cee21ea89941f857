// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// timerfd: clock, what is left of the current interval, and expirations that have not been read. A timer that was set to a moment of
// the calendar (TFD_TIMER_ABSTIME on CLOCK_REALTIME) still goes off at that moment; every other one counts no time while its
// process stands still.
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>

#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"

namespace msocket::checkpoint {

namespace {

constexpr int kMax = 128;
constexpr unsigned long kSetTicks = _IOW('T', 0, uint64_t);  // TFD_IOC_SET_TICKS
constexpr long kSecond = 1000000000;

struct Timer {
  int fd, same_as, flags;
  bool close_on_exec;
  int clock, set_flags;
  itimerspec left;    ///< it_value: until it goes off
  timespec deadline;  ///< on the calendar, if that is what it was set to
  uint64_t ticks;
};
Timer list[kMax];
int count;

void begin() { count = 0; }

bool calendar(const Timer& timer) { return timer.clock == CLOCK_REALTIME && (timer.set_flags & TFD_TIMER_ABSTIME); }

// "name: (seconds, nanoseconds)"
bool take_time(const char* text, const char* name, timespec* time) {
  const char* at = strstr(text, name);
  if (!at) return false;
  at += strlen(name);
  time->tv_sec = take_number(&at, 10);
  if (!take_word(&at, ",")) return false;
  time->tv_nsec = take_number(&at, 10);
  return true;
}

timespec sum(timespec a, timespec b) {
  a.tv_sec += b.tv_sec;
  a.tv_nsec += b.tv_nsec;
  if (a.tv_nsec >= kSecond) ++a.tv_sec, a.tv_nsec -= kSecond;
  return a;
}

bool claim(const Descriptor& d, Refusal* why) {
  if (strcmp(d.path, "anon_inode:[timerfd]") != 0) return false;
  char text[1024];
  uint64_t clock = 0, set_flags = 0;
  Timer timer{.fd = d.fd, .same_as = -1, .flags = d.flags, .close_on_exec = d.close_on_exec, .clock = 0, .set_flags = 0,
              .left = {}, .deadline = {}, .ticks = 0};
  itimerspec ignored;  // the question makes the kernel reckon up the rounds of a periodic one that nobody has read
  raw::sys(SYS_timerfd_gettime, d.fd, &ignored);
  bool good = count < kMax && read_fdinfo(d.fd, text, sizeof text) && number_after(text, "clockid:", 10, &clock) &&
              number_after(text, "\nticks:", 10, &timer.ticks) && take_time(text, "it_value: (", &timer.left.it_value) &&
              take_time(text, "it_interval: (", &timer.left.it_interval);
  if (!good) {
    refuse_descriptor(why, d, " that cannot be read");
    return true;
  }
  const char* octal = strstr(text, "settime flags: ");
  if (octal) set_flags = static_cast<uint64_t>(octal[15] - '0') * 8 + static_cast<uint64_t>(octal[16] - '0');
  timer.clock = static_cast<int>(clock);
  timer.set_flags = static_cast<int>(set_flags);
  if (calendar(timer)) {
    timespec now;
    raw::sys(SYS_clock_gettime, CLOCK_REALTIME, &now);
    timer.deadline = sum(now, timer.left.it_value);
  }
  for (int i = 0; i < count && timer.same_as < 0; ++i)
    if (same_description(list[i].fd, d.fd)) timer.same_as = i;
  list[count++] = timer;
  return true;
}

bool set(const Timer& timer, int fd) {
  itimerspec value = timer.left;
  bool armed = value.it_value.tv_sec || value.it_value.tv_nsec;
  // One that has gone off and is periodic: the kernel reckons its next round when the ticks are read.
  if (!armed && (value.it_interval.tv_sec || value.it_interval.tv_nsec)) value.it_value = value.it_interval, armed = true;
  int flags = 0;
  if (armed && calendar(timer)) {
    flags = timer.set_flags;
    value.it_value = timer.deadline;
  }
  if (armed && raw::sys(SYS_timerfd_settime, fd, flags, &value, nullptr) != 0) return false;
  uint64_t ticks = timer.ticks;
  return !ticks || raw::sys(SYS_ioctl, fd, kSetTicks, &ticks) == 0;
}

bool restore(Refusal* why) {
  for (int i = 0; i < count; ++i) {
    const Timer& timer = list[i];
    bool good;
    if (timer.same_as >= 0)
      good = raw::dup3(list[timer.same_as].fd, timer.fd, timer.close_on_exec ? O_CLOEXEC : 0) >= 0;
    else
      good = put_at(raw::sys(SYS_timerfd_create, timer.clock, timer.flags & O_NONBLOCK ? TFD_NONBLOCK : 0), timer.fd,
                    timer.close_on_exec) &&
             set(timer, timer.fd);
    if (!good) {
      why->add("a timerfd cannot be made again");
      return false;
    }
  }
  return true;
}

}  // namespace

extern const Resource timerfds;
const Resource timerfds{.begin = begin, .claim = claim, .restore = restore};

}  // namespace msocket::checkpoint
