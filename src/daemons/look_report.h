// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/wire/msocket.pb.h"

namespace msocket::daemons {

/// What a dry look at a rank has found (src/wire/look.h).
struct LookReport {
  struct Peer {
    uint32_t opened = 0, accepted = 0;  ///< connections with it: by which end
  };
  bool answered = false;             ///< false: the process did not answer in time
  std::vector<std::string> reasons;  ///< why it cannot move
  proto::Needs needs;                ///< what must be where it goes
  uint64_t bytes = 0;                ///< that a copy of it holds; only when they were counted
  uint32_t regions = 0;
  std::map<uint32_t, Peer> peers;    ///< by virtual address
};

/// Reads what the process has written. It is trusted as little as its program. No I/O.
void parse_look(const std::string& text, LookReport* report);

}  // namespace msocket::daemons
