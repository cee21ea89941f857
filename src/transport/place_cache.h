// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The process's own part of the address cache for datagrams (paper 5.6): which real address and port stand behind a virtual
// one. The daemon fills and corrects it (src/daemons/datagrams.h); a wrong entry costs a datagram and nothing else.
// Fixed memory, no I/O; time is given by the caller. Lock held.
#pragma once
#include <cstddef>
#include <cstdint>

#include "src/util/ids.h"

namespace msocket::transport {

struct PlaceEntry {
  enum State : uint8_t { kEmpty, kAsked, kKnown, kNobody };
  Endpoint to, real;
  State state = kEmpty;
  bool again = false;   ///< kKnown: the daemon has been asked whether it still holds
  int error = 0;        ///< kNobody
  int64_t since = 0;    ///< when the daemon was asked, or has answered; milliseconds
  uint64_t used = 0;    ///< a stamp
};

class PlaceCache {
 public:
  static constexpr size_t kSets = 64, kWays = 4;
  /// nullptr: nothing is known about it, not even that the daemon has been asked.
  PlaceEntry* find(const Endpoint& to);
  /// The entry, if need be in place of the one of its set that was not used for longest.
  PlaceEntry* make(const Endpoint& to);
  void clear();

 private:
  static size_t set_of(const Endpoint& to) { return (to.ip * 31 + to.port) % kSets; }
  PlaceEntry entries_[kSets][kWays];
  uint64_t stamp_ = 0;
};

}  // namespace msocket::transport
