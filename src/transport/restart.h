// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Calls that the kernel never restarts, although their interruption by our signal is nothing that the program should see. The
// interrupted frame tells the call by the instruction in front of it (libc's `mov $number, %eax; syscall`), and its arguments
// are still in the registers. Made again is what keeps its end: a time-out that is absolute, none, or one of which the kernel has
// written what is left. A relative one that nobody has kept is not: it would begin anew with every signal.
#pragma once
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

#include "src/transport/raw.h"

namespace msocket::transport {

/// At the end of the control signal's handler, when all signals are blocked. A signal of the program's that waits is what has
/// interrupted the call, then. pause and sigsuspend are left alone: a signal in between would be missed.
inline void restart_call(ucontext_t* context) {
  constexpr greg_t kEintr = 4;
  constexpr int kSyscallLength = 2, kWithNumber = 7;
  auto& registers = context->uc_mcontext.gregs;
  if (registers[REG_RAX] != -kEintr) return;
  auto* at = reinterpret_cast<const unsigned char*>(registers[REG_RIP]);
  if ((reinterpret_cast<uintptr_t>(at) & 4095) < kWithNumber || at[-2] != 0x0f || at[-1] != 0x05 || at[-7] != 0xb8) return;
  int number = at[-6] | at[-5] << 8 | at[-4] << 16 | at[-3] << 24;
  greg_t first = registers[REG_RDI], second = registers[REG_RSI], third = registers[REG_RDX], fourth = registers[REG_R10];
  switch (number) {
    case SYS_nanosleep:
      if (!second) return;
      first = second;
      break;
    case SYS_clock_nanosleep:
      if (second & TIMER_ABSTIME) break;
      if (!fourth) return;
      third = fourth;
      break;
    case SYS_futex: {
      int operation = static_cast<int>(second) & FUTEX_CMD_MASK;
      if (fourth && operation != FUTEX_WAIT_BITSET && operation != FUTEX_WAIT_REQUEUE_PI) return;
      break;
    }
    case SYS_select:
    case SYS_pselect6:
    case SYS_ppoll: break;
    case SYS_poll:
      if (static_cast<int>(third) >= 0) return;
      break;
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
      if (static_cast<int>(fourth) >= 0) return;
      break;
    case SYS_rt_sigtimedwait:
      if (third) return;
      break;
    default: return;
  }
  uint64_t waiting = 0, blocked = 0;
  raw::sys(SYS_rt_sigpending, &waiting, 8);
  __builtin_memcpy(&blocked, &context->uc_sigmask, sizeof blocked);
  if (waiting & ~blocked) return;
  registers[REG_RDI] = first;
  registers[REG_RDX] = third;
  registers[REG_RAX] = number;
  registers[REG_RIP] -= kSyscallLength;
}

}  // namespace msocket::transport
