// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What is particular to a processor: x86-64 (arch_x86_64.S).
#pragma once
#include <cstdint>

namespace msocket::checkpoint {

/// Registers that a function call keeps. Everything else is on the stack already, below the handler's frame.
struct Context {
  uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rip;
  uint32_t mxcsr, x87_control;
};

/// What glibc registers its restartable sequences with.
inline constexpr unsigned kRseqSignature = 0x53053053;
inline constexpr int kRseqUnregister = 1;

}  // namespace msocket::checkpoint

/// Like setjmp: returns 0 when it saves, 1 when msocket_context_resume comes back to it, perhaps in another process.
extern "C" int msocket_context_save(msocket::checkpoint::Context* context) __attribute__((returns_twice));
extern "C" [[noreturn]] void msocket_context_resume(const msocket::checkpoint::Context* context);
/// clone3(arguments, size) for a thread that begins with msocket_context_resume(context): the new thread's id, or -errno.
extern "C" long msocket_clone_thread(void* arguments, unsigned long size, const msocket::checkpoint::Context* context);
/// clone(flags, stack_top): the new process calls function(argument), which must not return. Its id, or -errno.
extern "C" long msocket_clone_tracer(unsigned long flags, void* stack_top, void (*function)(void*), void* argument);
/// Calls function(argument) on another stack; never returns.
extern "C" [[noreturn]] void msocket_on_stack(void* stack_top, void (*function)(void*), void* argument);
