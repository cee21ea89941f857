// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "src/daemons/rank.h"

namespace msocket::daemons {

/// What a dry look at a rank has found (src/wire/look.h).
struct LookReport {
  bool answered = false;             ///< false: the process did not answer in time
  std::vector<std::string> reasons;  ///< why it cannot move
  proto::Needs needs;                ///< what must be where it goes
  uint64_t bytes = 0;                ///< that a copy of it holds; only when they were counted
  uint32_t regions = 0;
};

/// Asks the rank's process, in its handler; it goes on at once. Nothing of it is touched.
awaitable<LookReport> look_at(asio::any_io_executor executor, Rank::Ptr rank, bool count);
/// Reads what the process has written. It is trusted as little as its program.
void parse_look(const std::string& text, LookReport* report);

}  // namespace msocket::daemons
