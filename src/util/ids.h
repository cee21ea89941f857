// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Strong types for what can be mixed up or recycled. Plain data, usable in a signal handler and on the wire
// (little endian, no padding).
#pragma once
#include <compare>
#include <cstdint>

namespace msocket {

/// A virtual (or real) IPv4 address and port, both in host byte order. `pad` is always zero.
struct Endpoint {
  uint32_t ip = 0;
  uint16_t port = 0;
  uint16_t pad = 0;
  auto operator<=>(const Endpoint&) const = default;
};

/// Names one virtual connection for its whole life, across any number of moves of either end. Random; never reused.
struct ConnId {
  uint64_t hi = 0;
  uint64_t lo = 0;
  auto operator<=>(const ConnId&) const = default;
  bool valid() const { return hi || lo; }
};

/// How often a process has moved; +1 per migration. An older generation never overwrites a newer one.
using Generation = uint32_t;

}  // namespace msocket
