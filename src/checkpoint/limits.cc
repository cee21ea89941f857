// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Resource limits, nice value, scheduling, processors, the out-of-memory killer's score. What the program has set since its start must
// be as it was, or the move fails; of the rest the new node's own stays where it allows no more.
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"
#include "src/transport/exec.h"

namespace msocket::checkpoint {

namespace {

constexpr int kLimits = 16;
constexpr const char* kNames[kLimits] = {"RLIMIT_CPU",   "RLIMIT_FSIZE",   "RLIMIT_DATA",       "RLIMIT_STACK",
                                         "RLIMIT_CORE",  "RLIMIT_RSS",     "RLIMIT_NPROC",      "RLIMIT_NOFILE",
                                         "RLIMIT_MEMLOCK", "RLIMIT_AS",    "RLIMIT_LOCKS",      "RLIMIT_SIGPENDING",
                                         "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO",     "RLIMIT_RTTIME"};
constexpr int kWhoProcess = 1;  // of ioprio_get

struct Limit {
  uint64_t soft, hard;
};
struct SchedAttr {  // <linux/sched/types.h>
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};
struct Settings {
  Limit limits[kLimits];
  SchedAttr sched;
  long io_priority;
  long oom_score;
  uint64_t cpus[16];
};
Settings at_start, now;

void read_settings(Settings* s) {
  for (int i = 0; i < kLimits; ++i) raw::sys(SYS_prlimit64, 0, i, nullptr, &s->limits[i]);
  memset(&s->sched, 0, sizeof s->sched);
  raw::sys(SYS_sched_getattr, 0, &s->sched, sizeof s->sched, 0);
  s->io_priority = raw::sys(SYS_ioprio_get, kWhoProcess, 0);
  char text[32];
  const char* at = text;
  s->oom_score = read_text("/proc/self/oom_score_adj", text, sizeof text) > 0 ? take_number(&at, 10) : 0;
  memset(s->cpus, 0, sizeof s->cpus);
  raw::sys(SYS_sched_getaffinity, 0, sizeof s->cpus, s->cpus);
}

void start() { read_settings(&at_start); }
void over_exec() { transport::goes_over_exec(&at_start, sizeof at_start); }
void look(Refusal*) { read_settings(&now); }

bool refuse(Refusal* why, const char* what) {
  why->add("this node does not allow ");
  why->add(what);
  why->end();
  return false;
}

bool same(const void* a, const void* b, size_t n) { return memcmp(a, b, n) == 0; }

bool restore_limit(int i, const Settings& here, Refusal* why) {
  const Limit wanted = now.limits[i];
  bool changed = !same(&wanted, &at_start.limits[i], sizeof wanted);
  Limit given = wanted;
  if (raw::sys(SYS_prlimit64, 0, i, &given, nullptr) != 0) {
    const Limit& most = here.limits[i];
    if (given.hard > most.hard) given.hard = most.hard;  // that needs a privilege, and is more than the program can make use of
    if (given.soft > given.hard && changed) {
      why->add("it has ");
      why->add(kNames[i]);
      why->add(" ");
      if (wanted.soft == ~uint64_t{0}) why->add("unlimited");
      else why->add(static_cast<long>(wanted.soft));
      why->add(", and this node allows ");
      why->add(static_cast<long>(most.hard));
      return false;
    }
    if (given.soft > given.hard) given.soft = given.hard;
    raw::sys(SYS_prlimit64, 0, i, &given, nullptr);
  }
  if (!changed) raw::sys(SYS_prlimit64, 0, i, nullptr, &at_start.limits[i]);
  return true;
}

bool finish(Refusal* why) {
  Settings here;
  read_settings(&here);
  for (int i = 0; i < kLimits; ++i)
    if (!restore_limit(i, here, why)) return false;
  if (!same(&now.sched, &here.sched, sizeof now.sched)) {
    now.sched.size = sizeof now.sched;
    bool changed = !same(&now.sched, &at_start.sched, sizeof now.sched);
    if (raw::sys(SYS_sched_setattr, 0, &now.sched, 0) != 0 && changed) return refuse(why, "its scheduling policy or nice value");
    if (!changed) raw::sys(SYS_sched_getattr, 0, &at_start.sched, sizeof at_start.sched, 0);
  }
  if (now.io_priority != here.io_priority && raw::sys(SYS_ioprio_set, kWhoProcess, 0, now.io_priority) != 0 &&
      now.io_priority != at_start.io_priority)
    return refuse(why, "its I/O priority");
  if (now.oom_score != here.oom_score) {
    char text[32];
    number_path("", now.oom_score, text);
    long fd = raw::sys(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && raw::write(static_cast<int>(fd), text, strlen(text)) > 0;
    if (fd >= 0) raw::close(static_cast<int>(fd));
    if (!good && now.oom_score != at_start.oom_score) return refuse(why, "its oom_score_adj");
  }
  // Where the program has not bound itself it runs where this node's daemon has put it.
  if (same(now.cpus, at_start.cpus, sizeof now.cpus)) memcpy(at_start.cpus, here.cpus, sizeof here.cpus);
  else if (raw::sys(SYS_sched_setaffinity, 0, sizeof now.cpus, now.cpus) != 0)
    return refuse(why, "the processors that it has bound itself to: there are none of them here");
  return true;
}

}  // namespace

extern const Resource limits;
const Resource limits{.start = start, .over_exec = over_exec, .look = look, .finish = finish};

}  // namespace msocket::checkpoint
