// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace msocket::daemons {

struct Estimate {
  uint32_t rounds;
  double pause_ms;
};

/// What a move would cost a rank of `bytes` to be sent, of which it changes little meanwhile. The rate is assumed: what two nodes on a
/// 10 Gbit/s network reach with everything that is done to a page on its way; besides that some milliseconds for what does not depend on
/// memory. With pre-copy one round takes all of it and, unless that is little, another what was written meanwhile; the pause is for a rest
/// as small as ends the rounds (page_copier.cc), and to look through all pages once. `tools/bench downtime` measures the real thing.
inline Estimate estimate_move(uint64_t bytes, bool precopy) {
  constexpr double kBytesPerMs = 800e3, kLookBytesPerMs = 250e6, kRestMs = 4;
  constexpr uint64_t kRest = 512 << 10;
  auto all = static_cast<double>(bytes), rest = static_cast<double>(bytes < kRest ? bytes : kRest);
  if (!precopy) return {1, kRestMs + all / kBytesPerMs};
  return {bytes > 64 * kRest ? 2u : 1u, kRestMs + rest / kBytesPerMs + all / kLookBytesPerMs};
}

}  // namespace msocket::daemons
