// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <ucontext.h>

extern "C" long ms_stub(long a1, long a2, long a3, long a4, long a5, long a6, long nr, const uint8_t* word, long mask);
extern "C" char ms_stub_check[], ms_stub_syscall[];

namespace msocket::transport {

/// ms_stub: the word said no; look at the state again.
inline constexpr long kRedo = -4099;

/// In the control signal's handler, before anything else: a thread that was about to make a guarded call looks again.
inline void rewind_stub(ucontext_t* context) {
  auto& rip = context->uc_mcontext.gregs[REG_RIP];
  auto check = reinterpret_cast<greg_t>(ms_stub_check);
  auto last = reinterpret_cast<greg_t>(ms_stub_syscall);
  if (rip > check && rip <= last) rip = check;
}

}  // namespace msocket::transport
