// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The simulated kernel's calls on descriptors, in two parts (calls.cc).
#pragma once
#include "tests/sim/kernel.h"

namespace msocket::sim {

/// Set by a call that has to wait: when to try again.
struct Waits {
  std::function<bool()> until;
};

/// Descriptors and their flags. -ENOSYS: no such call.
long file_call(long nr, const long* a);
/// Bytes, records, poll. `done`: bytes that a blocking write has already got rid of.
long io_call(long nr, const long* a, size_t& done, Waits* waits);

}  // namespace msocket::sim
