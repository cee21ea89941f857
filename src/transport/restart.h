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

/// A call that our signal has ended is put back before its system call. If a signal of the program's is there, too, it is what has
/// interrupted the call: where the program's handlers go through ms_look_again they find the thread in front of that call and
/// end it; else it is left ended when such a signal waits (perhaps for another thread). pause and sigsuspend are left alone: a
/// signal in between would be missed.
inline bool handlers_look_again;

struct Call {
  greg_t number = -1, first, third;  // third and first: as they must be when it is made again
};

/// The libc call whose system call is at `at`, if it is one of ours.
inline Call call_at(const ucontext_t* context, const unsigned char* at) {
  constexpr int kNumberLength = 5;
  Call call;
  if ((reinterpret_cast<uintptr_t>(at) & 4095) < kNumberLength || (reinterpret_cast<uintptr_t>(at) & 4095) > 4094) return call;
  if (at[0] != 0x0f || at[1] != 0x05 || at[-kNumberLength] != 0xb8) return call;
  const auto& registers = context->uc_mcontext.gregs;
  greg_t second = registers[REG_RSI], fourth = registers[REG_R10];
  call.first = registers[REG_RDI];
  call.third = registers[REG_RDX];
  int number = at[-4] | at[-3] << 8 | at[-2] << 16 | at[-1] << 24;
  bool kept = false;
  switch (number) {
    case SYS_nanosleep:
      kept = second != 0;
      call.first = second;
      break;
    case SYS_clock_nanosleep:
      kept = second & TIMER_ABSTIME || fourth;
      if (!(second & TIMER_ABSTIME)) call.third = fourth;
      break;
    case SYS_futex: {
      int operation = static_cast<int>(second) & FUTEX_CMD_MASK;
      kept = fourth && (operation == FUTEX_WAIT_BITSET || operation == FUTEX_WAIT_REQUEUE_PI);
      break;
    }
    case SYS_select:
    case SYS_pselect6:
    case SYS_ppoll: kept = true; break;
    case SYS_poll: kept = static_cast<int>(call.third) < 0; break;
    case SYS_epoll_wait:
    case SYS_epoll_pwait: kept = static_cast<int>(fourth) < 0; break;
    case SYS_rt_sigtimedwait: kept = !call.third; break;
    default: break;
  }
  if (kept) call.number = number;
  return call;
}

/// At the end of the control signal's handler.
inline void restart_call(ucontext_t* context) {
  constexpr greg_t kEintr = 4;
  constexpr int kSyscallLength = 2;
  auto& registers = context->uc_mcontext.gregs;
  if (registers[REG_RAX] == SYS_restart_syscall) {
    // Woken for a signal that another thread took, it was about to wait again when ours came. The end of a handler makes the kernel
    // forget what that was, and say EINTR.
    Call call = call_at(context, reinterpret_cast<const unsigned char*>(registers[REG_RIP]));
    if (call.number < 0) return;
    registers[REG_RDI] = call.first;
    registers[REG_RDX] = call.third;
    registers[REG_RAX] = call.number;
    return;
  }
  if (registers[REG_RAX] != -kEintr) return;
  Call call = call_at(context, reinterpret_cast<const unsigned char*>(registers[REG_RIP]) - kSyscallLength);
  if (call.number < 0) return;
  if (!handlers_look_again) {
    uint64_t waiting = 0, blocked = 0;
    raw::sys(SYS_rt_sigpending, &waiting, 8);
    __builtin_memcpy(&blocked, &context->uc_sigmask, sizeof blocked);
    if (waiting & ~blocked) return;
  }
  registers[REG_RDI] = call.first;
  registers[REG_RDX] = call.third;
  registers[REG_RAX] = call.number;
  registers[REG_RIP] -= kSyscallLength;
}

/// In a handler of the program's: a call that was put back, or is just about to begin, is what its signal interrupts. One
/// that has not begun and would have to say how much time is left has not got that far: it begins.
inline void end_call(ucontext_t* context) {
  constexpr greg_t kEintr = 4;
  constexpr int kSyscallLength = 2;
  auto& registers = context->uc_mcontext.gregs;
  Call call = call_at(context, reinterpret_cast<const unsigned char*>(registers[REG_RIP]));
  if (call.number < 0 || registers[REG_RAX] != call.number) return;
  if (call.first != registers[REG_RDI] || call.third != registers[REG_RDX]) return;
  registers[REG_RAX] = -kEintr;
  registers[REG_RIP] += kSyscallLength;
}

}  // namespace msocket::transport
