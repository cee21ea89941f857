// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The process's threads at a freeze. Each stands in the control signal's handler (transport/world.h) and has noted there what
// the kernel knows about it; its registers are on its stack, in the signal's frame. In the new process the first thread
// starts the others (restore.cc), each comes back into its handler, puts itself in order and waits until the process may run.
// Async-signal-safe.
#pragma once
#include <cstdint>

#include "src/checkpoint/arch.h"
#include "src/checkpoint/resources.h"

namespace msocket::checkpoint {

inline constexpr int kCpuBytes = 128;  ///< of an affinity mask: 1024 processors

/// One thread; lies on its own stack.
struct ThreadState {
  Context context;
  uint64_t fs_base, gs_base;
  uint64_t tid_field;  ///< where libc keeps its id; 0: not where expected
  uint64_t clear_tid;
  uint64_t robust_head, robust_len;
  uint64_t rseq_area;
  uint32_t rseq_len;
  int32_t tid;
  uint64_t pending;  ///< signals that wait for this thread alone
  int32_t policy, priority, nice;
  char name[16];
  unsigned char cpus[kCpuBytes];
};

/// Where libc keeps a thread's id and rseq area, as distances from the thread pointer; found once, by the first thread.
struct ThreadLayout {
  int64_t tid = 0;  ///< 0: not where expected
  int64_t rseq = 0;
  uint32_t rseq_length = 0;
};
ThreadLayout find_thread_layout();

/// transport::hold_hook: notes this thread, and stands still until the world goes on, here or in the new process.
void hold_thread(uint32_t stopping);

/// Fills in what a thread can say about itself; its context it saves by itself.
void note_thread(ThreadState* state);
/// The freezing thread, with all others held: lists them, the process's first one at the front and this one, unless it is that,
/// at the end. False: `why` says who is not to be had.
bool list_threads(ThreadState* own, Refusal* why);
/// What list_threads has found: ThreadState*[count], in memory that moves.
ThreadState* const* listed_threads(uint32_t* count);
/// In the new process, by each thread: all that a new thread does not have by itself.
void take_up_thread(const ThreadState& state);

/// Signals that wait for this thread alone.
uint64_t thread_pending();
/// Notes the clocks that count from the host's start; and waits until they have come there again, in a new process whose clocks go on (kFlagNamespaces).
void note_clocks();
void wait_for_clocks();

}  // namespace msocket::checkpoint
