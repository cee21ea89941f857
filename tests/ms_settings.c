/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Limits, scheduling and what prctl sets; see resources.h.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "resources.h"

static int oom_score(void) {
  int score = -1;
  FILE* file = fopen("/proc/self/oom_score_adj", "r");
  if (file && fscanf(file, "%d", &score) != 1) score = -1;
  if (file) fclose(file);
  return score;
}

static int hold_limits(void) {
  struct rlimit files = {900, 1000}, core = {0, 123456}, stack;
  MUST(!setrlimit(RLIMIT_NOFILE, &files) && !setrlimit(RLIMIT_CORE, &core));
  MUST(!getrlimit(RLIMIT_STACK, &stack));
  stack.rlim_cur = 6 << 20;
  MUST(!setrlimit(RLIMIT_STACK, &stack));
  return 1;
}
static int check_limits(void) {
  struct rlimit limit;
  MUST(!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur == 900 && limit.rlim_max == 1000);
  MUST(!getrlimit(RLIMIT_CORE, &limit) && limit.rlim_cur == 0 && limit.rlim_max == 123456);
  MUST(!getrlimit(RLIMIT_STACK, &limit) && limit.rlim_cur == 6 << 20);
  return 1;
}
static int free_limits(void) { return 1; }

/* nice value, policy, processors, the out-of-memory killer's score */
static cpu_set_t bound;
static int hold_sched(void) {
  struct sched_param none = {0};
  FILE* file = fopen("/proc/self/oom_score_adj", "w");
  MUST(file && fprintf(file, "321") > 0 && !fclose(file));
  MUST(!setpriority(PRIO_PROCESS, 0, 7) && !sched_setscheduler(0, SCHED_BATCH, &none));
  CPU_ZERO(&bound);
  CPU_SET(1, &bound);
  if (sched_setaffinity(0, sizeof bound, &bound) != 0) CPU_ZERO(&bound); /* a machine with one processor */
  return 1;
}
static int check_sched(void) {
  cpu_set_t now;
  MUST(getpriority(PRIO_PROCESS, 0) == 7 && sched_getscheduler(0) == SCHED_BATCH && oom_score() == 321);
  MUST(!sched_getaffinity(0, sizeof now, &now) && (!CPU_COUNT(&bound) || CPU_EQUAL(&now, &bound)));
  return 1;
}
static int free_sched(void) { return 1; }

/* An ordinary user's daemon cannot move what hides itself: ms_bound has that. */
static int hold_prctl(void) {
  MUST(!prctl(PR_SET_NAME, "another name") && !prctl(PR_SET_DUMPABLE, getuid() != 0) && !prctl(PR_SET_PDEATHSIG, 15));
  MUST(!prctl(PR_SET_TIMERSLACK, 123456) && !prctl(PR_SET_CHILD_SUBREAPER, 1) && !prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
  return 1;
}
static int check_prctl(void) {
  char name[17] = "";
  int number = 0;
  MUST(!prctl(PR_GET_NAME, name) && !strcmp(name, "another name") && prctl(PR_GET_DUMPABLE) == (getuid() != 0));
  MUST(!prctl(PR_GET_PDEATHSIG, &number) && number == 15 && prctl(PR_GET_TIMERSLACK) == 123456);
  MUST(!prctl(PR_GET_CHILD_SUBREAPER, &number) && number == 1 && prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1);
  return 1;
}
static int free_prctl(void) {
  MUST(!prctl(PR_SET_DUMPABLE, 1));
  return 1;
}

/* the last one: there is no way back from it. Root becomes another user; an ordinary user gives up new privileges. */
static uid_t user;
static int hold_user(void) {
  user = getuid() ? getuid() : 12345;
  if (getuid() == 0) MUST(!setresgid(12346, 12346, 12346) && !setresuid(user, user, user));
  MUST(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  return 1;
}
static int check_user(void) {
  uid_t real, effective, saved;
  MUST(!getresuid(&real, &effective, &saved) && real == user && effective == user && saved == user);
  MUST(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
  if (user == 12345) MUST(getgid() == 12346 && setuid(0) != 0);
  return 1;
}
static int free_user(void) { return 1; }

int main(int argc, char** argv) {
  static const struct test_case cases[] = {{"limits", hold_limits, check_limits, free_limits},
                                           {"sched", hold_sched, check_sched, free_sched},
                                           {"prctl", hold_prctl, check_prctl, free_prctl},
                                           {"user", hold_user, check_user, free_user},
                                           {0}};
  return serve("ms_settings", cases, argc, argv);
}
