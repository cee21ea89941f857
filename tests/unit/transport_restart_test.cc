// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What the control signal's handler makes of a call that it has found interrupted.
#include "src/transport/restart.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace msocket::transport {
namespace {

class Restart : public testing::Test {
 protected:
  /// A thread of libc's in `number`, the instruction pointer at its system call or behind it.
  ucontext_t found(int number, greg_t rax, bool behind) {
    code_[6] = static_cast<unsigned char>(number);
    code_[7] = static_cast<unsigned char>(number >> 8);
    ucontext_t context{};
    auto& registers = context.uc_mcontext.gregs;
    registers[REG_RAX] = rax;
    registers[REG_RIP] = reinterpret_cast<greg_t>(code_ + 10) + (behind ? 2 : 0);
    registers[REG_RDI] = 1;
    registers[REG_RSI] = FUTEX_WAIT_BITSET;
    registers[REG_RDX] = 3;
    registers[REG_R10] = 4;
    return context;
  }
  void again(ucontext_t context, int number) {
    restart_call(&context);
    EXPECT_EQ(context.uc_mcontext.gregs[REG_RAX], number);
    EXPECT_EQ(context.uc_mcontext.gregs[REG_RIP], reinterpret_cast<greg_t>(code_ + 10));
  }
  // mov $number, %eax; syscall
  alignas(64) unsigned char code_[16] = {0x90, 0x90, 0x90, 0x90, 0x90, 0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0x90};
};

TEST_F(Restart, AnInterruptedWaitIsMadeAgain) { again(found(SYS_futex, -EINTR, true), SYS_futex); }

// The kernel restarts it by restart_syscall, and forgets what that was at the end of a handler.
TEST_F(Restart, OneThatWasBeingRestartedIsMadeAgain) { again(found(SYS_futex, SYS_restart_syscall, false), SYS_futex); }

TEST_F(Restart, OneThatHasNotBegunBegins) { again(found(SYS_futex, SYS_futex, false), SYS_futex); }

TEST_F(Restart, WhatHasSucceededStays) {
  ucontext_t context = found(SYS_futex, 0, true);
  restart_call(&context);
  EXPECT_EQ(context.uc_mcontext.gregs[REG_RAX], 0);
  EXPECT_EQ(context.uc_mcontext.gregs[REG_RIP], reinterpret_cast<greg_t>(code_ + 12));
}

}  // namespace
}  // namespace msocket::transport
