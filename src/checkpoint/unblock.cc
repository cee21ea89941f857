// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/unblock.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "src/checkpoint/arch.h"
#include "src/checkpoint/boot.h"
#include "src/transport/raw.h"
#include "src/transport/world.h"

namespace msocket::checkpoint {

namespace {

constexpr int kStopMs = 500;  // one that waits in vfork, say, does not stop

struct Order {
  int thread;
  volatile bool done;
};

// In the tracer. When it ends it lets go of the thread, whatever state that is in.
void trace(void* argument) {
  auto* order = static_cast<Order*>(argument);
  int status = 0;
  bool stopped = false;
  if (raw::sys(SYS_ptrace, PTRACE_SEIZE, order->thread, 0, 0) == 0 && raw::sys(SYS_ptrace, PTRACE_INTERRUPT, order->thread, 0, 0) == 0)
    for (int waited = 0; waited < kStopMs && !stopped; ++waited) {
      stopped = raw::sys(SYS_wait4, order->thread, &status, __WALL | WNOHANG, 0) == order->thread && WIFSTOPPED(status);
      timespec pause{0, 1'000'000};
      if (!stopped) raw::sys(SYS_nanosleep, &pause, 0);
    }
  uint64_t mask = 0;
  if (stopped && raw::sys(SYS_ptrace, PTRACE_GETSIGMASK, order->thread, sizeof mask, &mask) == 0) {
    constexpr uint64_t kBit = uint64_t{1} << (wire::kControlSignal - 1);
    if (mask & kBit) transport::must_block_again(order->thread);  // before it can run
    mask &= ~kBit;
    order->done = raw::sys(SYS_ptrace, PTRACE_SETSIGMASK, order->thread, sizeof mask, &mask) == 0;
  }
  // A signal that it had stopped for is not lost: it goes on with that one.
  long signal = stopped && status >> 16 == 0 ? WSTOPSIG(status) : 0;
  if (stopped) raw::sys(SYS_ptrace, PTRACE_DETACH, order->thread, 0, signal);
  for (;;) raw::sys(SYS_exit, 0);
}

}  // namespace

bool unblock_control_signal(int thread) {
  Order order{thread, false};
  Boot* b = boot();
  constexpr long kAnyTracer = -1;  // Yama, where it is: for as long as this takes
  raw::sys(SYS_prctl, PR_SET_PTRACER, kAnyTracer, 0, 0, 0);
  // The stack is the restorer's, which nobody needs in a process that runs. exit_signal 0: the program is not told of it.
  long id = msocket_clone_tracer(CLONE_VM | CLONE_VFORK, b->stack + sizeof b->stack, trace, &order);
  if (id > 0) raw::sys(SYS_wait4, id, 0, __WALL, 0);
  raw::sys(SYS_prctl, PR_SET_PTRACER, 0, 0, 0, 0);
  return order.done;
}

}  // namespace msocket::checkpoint
