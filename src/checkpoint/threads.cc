// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/threads.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "src/checkpoint/boot.h"
#include "src/checkpoint/identity.h"
#include "src/checkpoint/unblock.h"
#include "src/transport/raw.h"
#include "src/transport/world.h"

namespace msocket::checkpoint {

namespace {

constexpr int kArchSetGs = 0x1001, kArchGetFs = 0x1003, kArchGetGs = 0x1004;
constexpr int kSoonMs = 20, kGatherMs = 5000, kTries = 3;

ThreadLayout layout;
ThreadState* listed[transport::kMaxThreads + 1];
uint32_t count;
unsigned char cpus_there[kCpuBytes];  // what the daemon had given the process where it was frozen
constexpr int kClocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME};  // each has an offset of its own, and comes late by its own
timespec clocks_then[2];

// A line of /proc/self/task/ID/status that begins with `name`: its hexadecimal value. False: no such thread.
bool status_of(int id, const char* name, uint64_t* value) {
  char text[4096];
  if (!transport::read_status(id, text, sizeof text)) return false;
  size_t length = strlen(name);
  for (const char* line = text; *line;) {
    if (strncmp(line, name, length) == 0) {
      *value = 0;
      for (const char* p = line + length;; ++p) {
        if (*p >= '0' && *p <= '9') *value = *value * 16 + (*p - '0');
        else if (*p >= 'a' && *p <= 'f') *value = *value * 16 + (*p - 'a' + 10);
        else if (*p != ' ' && *p != '\t') return true;
      }
    }
    while (*line && *line != '\n') ++line;
    if (*line) ++line;
  }
  return false;
}

bool same_cpus(const unsigned char* a, const unsigned char* b) { return memcmp(a, b, kCpuBytes) == 0; }

bool has_cpu(const unsigned char* set, int cpu) { return set[cpu / 8] >> (cpu % 8) & 1; }

// A thread that the program has bound to the n-th of its processors gets the n-th of those that it has here.
void bind_again(const ThreadState& state) {
  if (same_cpus(state.cpus, cpus_there)) return;
  const unsigned char* here = boot()->cpus;
  int all_here[8 * kCpuBytes], many = 0;
  for (int cpu = 0; cpu < 8 * kCpuBytes; ++cpu)
    if (has_cpu(here, cpu)) all_here[many++] = cpu;
  if (!many) return;
  unsigned char set[kCpuBytes] = {};
  for (int cpu = 0, place = 0; cpu < 8 * kCpuBytes; ++cpu) {
    if (!has_cpu(cpus_there, cpu)) continue;
    int mine = all_here[place++ % many];
    if (has_cpu(state.cpus, cpu)) set[mine / 8] = static_cast<unsigned char>(set[mine / 8] | 1 << (mine % 8));
  }
  raw::sys(SYS_sched_setaffinity, 0, sizeof set, set);
}

// Kept for giving the threads their ids; the program has none (src/daemons/namespaces.cc).
void drop_capabilities() {
  if (!(boot()->start.flags & wire::kFlagNamespaces) || raw::sys(SYS_geteuid) == 0) return;
  raw::sys(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  struct {
    uint32_t version = _LINUX_CAPABILITY_VERSION_3;
    int32_t pid = 0;
  } header;
  uint32_t none[6] = {};
  raw::sys(SYS_capset, &header, none);
}

}  // namespace

extern "C" const ptrdiff_t __rseq_offset __attribute__((weak));
extern "C" const unsigned int __rseq_size __attribute__((weak));

ThreadLayout find_thread_layout() {
  char* self;
  __asm__("mov %%fs:0x10, %0" : "=r"(self));
  ThreadLayout found;
  int tid = static_cast<int>(raw::gettid());
  // glibc 2.36 keeps it at 0x2d0 of struct pthread; other versions nearby. It must be the only such word there.
  constexpr int kFirst = 0x280, kLast = 0x400, kExpected = 0x2d0;
  int matches = 0, at = 0;
  for (int offset = kFirst; offset < kLast; offset += 4) {
    if (*reinterpret_cast<int*>(self + offset) != tid) continue;
    ++matches;
    if (at != kExpected) at = offset;
  }
  if (at == kExpected || matches == 1) found.tid = at;
  if (&__rseq_size && __rseq_size) {
    found.rseq = __rseq_offset;
    found.rseq_length = __rseq_size < 32 ? 32 : __rseq_size;
  }
  return layout = found;
}

void note_thread(ThreadState* state) {
  memset(static_cast<void*>(state), 0, sizeof *state);
  state->tid = static_cast<int32_t>(raw::gettid());
  raw::sys(SYS_arch_prctl, kArchGetFs, &state->fs_base);
  raw::sys(SYS_arch_prctl, kArchGetGs, &state->gs_base);
  raw::sys(SYS_get_robust_list, 0, &state->robust_head, &state->robust_len);
  bool of_libc = layout.tid && state->fs_base && *reinterpret_cast<int*>(state->fs_base + layout.tid) == state->tid;
  if (of_libc) state->tid_field = state->clear_tid = state->fs_base + static_cast<uint64_t>(layout.tid);
  if (of_libc && layout.rseq_length) {
    // One that has just begun has not registered it yet, and libc ends the process when it finds that somebody else has.
    uint64_t area = state->fs_base + static_cast<uint64_t>(layout.rseq);
    if (raw::sys(SYS_rseq, area, layout.rseq_length, kRseqUnregister, kRseqSignature) == 0) {
      raw::sys(SYS_rseq, area, layout.rseq_length, 0, kRseqSignature);
      state->rseq_area = area;
      state->rseq_len = layout.rseq_length;
    }
  }
  uint64_t address = 0;
  if (raw::sys(SYS_prctl, PR_GET_TID_ADDRESS, &address, 0, 0, 0) == 0) state->clear_tid = address;
  raw::sys(SYS_prctl, PR_GET_NAME, state->name, 0, 0, 0);
  raw::sys(SYS_sched_getaffinity, 0, sizeof state->cpus, state->cpus);
  state->policy = static_cast<int32_t>(raw::sys(SYS_sched_getscheduler, 0));
  raw::sys(SYS_sched_getparam, 0, &state->priority);
  state->nice = 20 - static_cast<int32_t>(raw::sys(SYS_getpriority, PRIO_PROCESS, 0));
}

void hold_thread(uint32_t stopping) {
  ThreadState state;
  note_thread(&state);
  bool anew = msocket_context_save(&state.context) != 0;
  if (anew) take_up_thread(state);
  transport::stand_still(stopping, &state);
  if (!anew) return;
  be_who_the_process_is();  // each thread has that for itself
  raw::sys(SYS_prctl, PR_SET_NAME, state.name, 0, 0, 0);
}

bool list_threads(ThreadState* own, Refusal* why) {
  transport::stop_world(true);
  // One that blocks the signal does so for an instant (pthread_create), or for good; one that does not may be slow.
  int absent = 0, failures = 0;
  for (int waited = 0; waited < kGatherMs && failures < kTries && (absent = transport::absent_thread(kSoonMs)); waited += kSoonMs)
    if (transport::blocks_signal(absent) && !unblock_control_signal(absent)) ++failures;
  if (absent) {
    char text[4096];
    why->add("its thread ");
    why->add(static_cast<long>(absent));
    bool there = transport::read_status(absent, text, sizeof text);
    const char* name = there && strncmp(text, "Name:\t", 6) == 0 ? text + 6 : "";
    if (char* end = const_cast<char*>(strchr(name, '\n'))) *end = 0;
    why->add(" (");
    why->add(name);
    why->add(transport::blocks_signal(absent) ? ") blocks signal 60" : ") does not come to a stop");
    return false;
  }
  int pid = static_cast<int>(raw::getpid());
  count = 1;
  listed[0] = own;
  transport::for_each_held([](void* state) { listed[count++] = static_cast<ThreadState*>(state); });
  for (uint32_t i = 1; i < count; ++i) {
    if (listed[i]->tid != pid) continue;
    listed[0] = listed[i];
    listed[i] = listed[count - 1];
    listed[count - 1] = own;
  }
  if (listed[0]->tid != pid) {
    why->add("its first thread has ended");
    return false;
  }
  for (uint32_t i = 0; i < count; ++i)  // what waits for this one is taken with what came with it (signals.cc)
    if (listed[i] != own) status_of(listed[i]->tid, "SigPnd:", &listed[i]->pending);
  memcpy(cpus_there, boot()->cpus, sizeof cpus_there);
  return true;
}

ThreadState* const* listed_threads(uint32_t* how_many) {
  *how_many = count;
  return listed;
}

void take_up_thread(const ThreadState& state) {
  bool first = state.tid == listed[0]->tid;  // restore.cc has seen to it
  if (!first) {
    if (state.gs_base) raw::sys(SYS_arch_prctl, kArchSetGs, state.gs_base);
    raw::sys(SYS_set_robust_list, state.robust_head, state.robust_len);
    if (state.rseq_area) raw::sys(SYS_rseq, state.rseq_area, state.rseq_len, 0, kRseqSignature);
  }
  drop_capabilities();
  raw::sys(SYS_prctl, PR_SET_NAME, state.name, 0, 0, 0);
  bind_again(state);
  if (state.policy != SCHED_OTHER) raw::sys(SYS_sched_setscheduler, 0, state.policy, &state.priority);
  if (state.nice) raw::sys(SYS_setpriority, PRIO_PROCESS, 0, state.nice);
  for (int sig = 1; sig <= 64; ++sig)
    if (sig != wire::kControlSignal && (state.pending >> (sig - 1) & 1)) raw::sys(SYS_tgkill, raw::getpid(), raw::gettid(), sig);
}

uint64_t thread_pending() {
  uint64_t signals = 0;
  status_of(static_cast<int>(raw::gettid()), "SigPnd:", &signals);
  return signals;
}

void note_clocks() {
  for (int i = 0; i < 2; ++i) raw::sys(SYS_clock_gettime, kClocks[i], &clocks_then[i]);
}

void wait_for_clocks() {
  if (!(boot()->start.flags & wire::kFlagNamespaces)) return;
  for (int i = 0; i < 2; ++i) raw::sys(SYS_clock_nanosleep, kClocks[i], TIMER_ABSTIME, &clocks_then[i], 0);
}

}  // namespace msocket::checkpoint
