// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Which datagrams this process has taken already: a window of counters for each source, as IPsec has it (RFC 4303, 3.4.3).
// Plain memory that moves with the process. Lock held.
#pragma once
#include <cstddef>
#include <cstdint>

#include "src/util/ids.h"

namespace msocket::transport {

class ReplayTable {
 public:
  /// Counters that may come late: what a socket's queue holds, passed on from the old node while newer ones come directly.
  static constexpr unsigned kWindow = 4096;
  /// Sources that are remembered; past this many the one that was silent longest is forgotten, and with it what it has sent.
  static constexpr size_t kMaxSources = 16384;

  /// False: taken before, or so old that nobody can tell.
  bool fresh(uint16_t local_port, const Endpoint& from, uint64_t counter) const;
  /// It is taken now. False: no memory to remember it in; do not take it.
  bool take(uint16_t local_port, const Endpoint& from, uint64_t counter);
  size_t sources() const { return count_; }
  /// Through `put` and `get`, which say whether they could: to another copy of the library (exec.h).
  bool save(bool (*put)(const void*, size_t)) const;
  bool load(bool (*get)(void*, size_t));
  /// Gives its memory back; for tests.
  void clear();

 private:
  struct Source {
    uint32_t ip;
    uint16_t port, local_port;
    uint64_t heard;  ///< a stamp; 0: the slot is free
    uint64_t highest;
    uint64_t seen[kWindow / 64];  ///< counter c is at c % kWindow
  };
  static constexpr size_t kFirst = 16, kProbes = 16;

  Source* find(uint16_t local_port, const Endpoint& from) const;
  Source* make(uint16_t local_port, const Endpoint& from);
  size_t slot(uint16_t local_port, const Endpoint& from, size_t probe) const;
  bool grow();

  Source* sources_ = nullptr;
  size_t size_ = 0, count_ = 0;
  uint64_t stamp_ = 0;
};

}  // namespace msocket::transport
