// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Who the process is: user and groups, capabilities, its name, and what else prctl sets.
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>

#include "src/checkpoint/boot.h"
#include "src/checkpoint/identity.h"
#include "src/checkpoint/resources.h"
#include "src/transport/raw.h"

namespace msocket::checkpoint {

namespace {

constexpr int kMaxGroups = 256;

// Settings that prctl gives as a return value and takes as a number. In the order in which they may be set.
constexpr struct {
  int get, set;
} plain[] = {
    {PR_GET_TIMERSLACK, PR_SET_TIMERSLACK},
    {PR_GET_THP_DISABLE, PR_SET_THP_DISABLE},
    {PR_GET_KEEPCAPS, PR_SET_KEEPCAPS},
    {PR_GET_NO_NEW_PRIVS, PR_SET_NO_NEW_PRIVS},
    {PR_GET_DUMPABLE, PR_SET_DUMPABLE},
};
constexpr int kPlain = sizeof plain / sizeof plain[0];

struct Who {
  uint32_t user[3], group[3];  // real, effective, saved
  long group_count;
  uint32_t groups[kMaxGroups];
  __user_cap_data_struct capabilities[2];
};
struct Saved {
  Who who;
  long settings[kPlain];
  int death_signal, reaper;
  char name[16];
} saved;
bool dumpable_for_now;

__user_cap_header_struct own_capabilities() { return {_LINUX_CAPABILITY_VERSION_3, 0}; }

void read_who(Who* who) {
  memset(who, 0, sizeof *who);
  raw::sys(SYS_getresuid, &who->user[0], &who->user[1], &who->user[2]);
  raw::sys(SYS_getresgid, &who->group[0], &who->group[1], &who->group[2]);
  who->group_count = raw::sys(SYS_getgroups, kMaxGroups, who->groups);
  auto header = own_capabilities();
  raw::sys(SYS_capget, &header, who->capabilities);
}

// Before the look: that is made as a dumpable process (resources.h).
void begin() {
  for (int i = 0; i < kPlain; ++i) saved.settings[i] = raw::sys(SYS_prctl, plain[i].get, 0, 0, 0, 0);
}

void look(Refusal* why) {
  read_who(&saved.who);
  if (saved.who.group_count < 0) {
    why->add("it is in more than ");
    why->add(static_cast<long>(kMaxGroups));
    why->add(" groups");
  }
  raw::sys(SYS_prctl, PR_GET_PDEATHSIG, &saved.death_signal);
  raw::sys(SYS_prctl, PR_GET_CHILD_SUBREAPER, &saved.reaper);
  raw::sys(SYS_prctl, PR_GET_NAME, saved.name);
}

bool hidden() { return saved.settings[kPlain - 1] == 0; }

void take(Refusal*) {
  // Else it may not read its own page map.
  dumpable_for_now = hidden();
  if (dumpable_for_now) raw::sys(SYS_prctl, PR_SET_DUMPABLE, 1);
}

void give_back() {
  if (dumpable_for_now) raw::sys(SYS_prctl, PR_SET_DUMPABLE, 0);
  dumpable_for_now = false;
}

// An ordinary user's namespace knows none of his groups but one, and lets him keep them all the same.
bool groups_stay() { return (boot()->start.flags & wire::kFlagNamespaces) && raw::sys(SYS_geteuid) != 0; }

// 0, or what a call has failed with. All of it is this thread's only.
long be_who() {
  const Who& who = saved.who;
  Who here;
  read_who(&here);
  bool same_ids = memcmp(here.user, who.user, sizeof who.user) == 0 && memcmp(here.group, who.group, sizeof who.group) == 0;
  bool same_groups = here.group_count == who.group_count && memcmp(here.groups, who.groups, sizeof who.groups) == 0;
  long r = 0;
  raw::sys(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);  // until the capabilities are set by themselves
  if (!same_groups && !groups_stay()) r |= raw::sys(SYS_setgroups, who.group_count, who.groups);
  if (!same_ids) {
    r |= raw::sys(SYS_setresgid, who.group[0], who.group[1], who.group[2]);
    r |= raw::sys(SYS_setresuid, who.user[0], who.user[1], who.user[2]);
  }
  auto header = own_capabilities();
  if (!same_ids || memcmp(here.capabilities, who.capabilities, sizeof who.capabilities) != 0)
    r |= raw::sys(SYS_capset, &header, who.capabilities);
  if (r != 0) return r;
  for (int i = 0; i < kPlain; ++i)
    if (saved.settings[i] >= 0) raw::sys(SYS_prctl, plain[i].set, saved.settings[i], 0, 0, 0);
  return 0;
}

bool finish(Refusal* why) {
  if (be_who() != 0) {
    why->add("here it cannot be user ");
    why->add(static_cast<long>(saved.who.user[1]));
    why->add(" with the groups and capabilities that it has");
    return false;
  }
  raw::sys(SYS_prctl, PR_SET_PDEATHSIG, saved.death_signal);  // after the ids: their change clears it
  raw::sys(SYS_prctl, PR_SET_CHILD_SUBREAPER, saved.reaper);
  raw::sys(SYS_prctl, PR_SET_NAME, saved.name);
  dumpable_for_now = false;
  return true;
}

}  // namespace

void be_who_the_process_is() {
  if (be_who() == 0) return;
  raw::complain("a thread of this process cannot be who the process is on this node");
  raw::exit_group(1);
}

extern const Resource identity;
const Resource identity{.begin = begin, .look = look, .take = take, .give_back = give_back, .finish = finish};

}  // namespace msocket::checkpoint
