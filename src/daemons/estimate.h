// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace msocket::daemons {

struct Estimate {
  uint32_t rounds;
  double pause_ms;
};

/// What a move would cost, as it is done now: all of the image in one round, while the rank stands still. The rate is assumed: what
/// two nodes on a 10 Gbit/s network reach with everything that is done to a page on its way; besides that some milliseconds for
/// what does not depend on memory. `tools/bench pause` measures the real thing.
inline Estimate estimate_move(uint64_t bytes) {
  constexpr double kBytesPerMs = 800e3, kRestMs = 10;
  return {1, kRestMs + static_cast<double>(bytes) / kBytesPerMs};
}

}  // namespace msocket::daemons
