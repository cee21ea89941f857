// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Signal dispositions and the alternate stack; and, apart, because they come last, the signals that wait. (The mask is in the saved
// registers: src/checkpoint/arch.h.)
#include <signal.h>
#include <string.h>

#include "src/checkpoint/resources.h"
#include "src/checkpoint/threads.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/wire/control.h"

namespace msocket::checkpoint {

namespace {

constexpr int kSignals = 64;

struct KernelSigaction {
  void* handler;
  unsigned long flags;
  void* restorer;
  uint64_t mask;
};
KernelSigaction actions[kSignals + 1];
struct {
  void* at;
  int flags;
  int pad;
  size_t size;
} alternate_stack;

void look(Refusal*) {
  for (int sig = 1; sig <= kSignals; ++sig) raw::sys(SYS_rt_sigaction, sig, nullptr, &actions[sig], 8);
  raw::sys(SYS_sigaltstack, nullptr, &alternate_stack);
}

bool restore(Refusal*) {
  for (int sig = 1; sig <= kSignals; ++sig) raw::sys(SYS_rt_sigaction, sig, &actions[sig], nullptr, 8);
  raw::sys(SYS_sigaltstack, &alternate_stack, nullptr);
  return true;
}

// ---- what waits: taken out of the kernel's queue while all is blocked, and put in again with all that came with it ----

constexpr int kMaxPending = 256;
struct Info {
  alignas(8) char bytes[128];  // the kernel's siginfo_t
  bool own;                    // it waited for this thread alone; the others' are noted in threads.cc
};
Info queue[kMaxPending];
int queued;

int number_of(const Info& info) {
  int number;
  memcpy(&number, info.bytes, sizeof number);
  return number;
}

void put_back() {
  for (int i = 0; i < queued; ++i) {
    int number = number_of(queue[i]);
    long r = queue[i].own ? raw::sys(SYS_rt_tgsigqueueinfo, raw::getpid(), raw::gettid(), number, queue[i].bytes)
                          : raw::sys(SYS_rt_sigqueueinfo, raw::getpid(), number, queue[i].bytes);
    // What only the kernel may say the first thread may say to itself, and another may not.
    if (r != 0 && queue[i].own) raw::sys(SYS_tgkill, raw::getpid(), raw::gettid(), number);
    else if (r != 0) raw::sys(SYS_kill, raw::getpid(), number);
  }
  queued = 0;
}

void begin_pending() { queued = 0; }

void take_pending(Refusal* why) {
  // Not those of ours: when the move is called off the handler still wants to hear of them.
  uint64_t wanted = transport::kOtherSignals;
  struct {
    long seconds, nanoseconds;
  } at_once{0, 0};
  uint64_t own = thread_pending();
  // A thread's own come before those of the process.
  for (long number; queued < kMaxPending && (number = raw::sys(SYS_rt_sigtimedwait, &wanted, queue[queued].bytes, &at_once, 8)) > 0;) {
    uint64_t bit = uint64_t{1} << (number - 1);
    queue[queued++].own = own & bit;
    if (number < 32) own &= ~bit;  // of these there is one at most
  }
  if (queued < kMaxPending) return;
  why->add("more than ");
  why->add(static_cast<long>(kMaxPending));
  why->add(" signals wait for it");
}

bool finish_pending(Refusal*) {
  put_back();
  return true;
}

}  // namespace

extern const Resource signals, pending;
const Resource signals{.look = look, .restore = restore};
const Resource pending{.begin = begin_pending, .take = take_pending, .give_back = put_back, .finish = finish_pending};

}  // namespace msocket::checkpoint
