// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A look at a word and a system call as one step (stub.S).
#pragma once
#include <cstddef>
#include <cstdint>
#include <ucontext.h>

extern "C" {
/// Makes the call if none of mask's bits is set in *word, else returns kRedo. Made again when only our own signal ended it.
long ms_stub(long a1, long a2, long a3, long a4, long a5, long a6, long nr, const uint8_t* word, long mask);
/// Makes the call if *word is still `value`, else returns kRedo. EINTR is the caller's to judge.
long ms_stub_equal(long a1, long a2, long a3, long a4, long a5, long a6, long nr, const uint32_t* word, uint32_t value);

/// What the assembly's fast paths leave to C++ (calls_io.cc); `result`: of the system call, or kRedo: the number is slow.
ssize_t ms_finish_send(int fd, const void* buffer, size_t length, int flags, long result);
ssize_t ms_finish_recv(int fd, void* buffer, size_t length, int flags, long result);
ssize_t ms_finish_write(int fd, const void* buffer, size_t length, int flags, long result);
ssize_t ms_finish_read(int fd, void* buffer, size_t length, int flags, long result);

extern char ms_stub_base[];
struct MsStubRange {
  int32_t look, syscall, again;  // offsets from ms_stub_base
};
extern const MsStubRange ms_stub_table[], ms_stub_table_end[];
}

namespace msocket::transport {

inline constexpr long kRedo = -4099;

/// In a signal's handler, before anything else: a thread that was about to make a guarded call looks again. `ours`: it is the
/// control signal's, and a call that only this has ended is made again; another signal's EINTR is the program's.
inline void rewind_stub(ucontext_t* context, bool ours) {
  constexpr int kSyscallLength = 2, kEintr = 4;
  auto& registers = context->uc_mcontext.gregs;
  auto at = registers[REG_RIP] - reinterpret_cast<greg_t>(ms_stub_base);
  for (const MsStubRange* range = ms_stub_table; range < ms_stub_table_end; ++range) {
    bool before = at > range->look && at <= range->syscall;
    bool cut_short = ours && range->again && at == range->syscall + kSyscallLength && registers[REG_RAX] == -kEintr;
    if (before || cut_short) registers[REG_RIP] = reinterpret_cast<greg_t>(ms_stub_base) + range->look;
  }
}

}  // namespace msocket::transport
