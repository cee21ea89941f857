// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What stands before the program's bytes in every datagram between two virtual UDP sockets. It names virtual addresses alone,
// so a datagram stays valid when it is passed on to where its receiver has gone. See doc/wire-format.md, doc/datagrams.md.
#pragma once
#include <cstddef>
#include <cstdint>

#include "src/util/ids.h"

namespace msocket::wire {

inline constexpr uint32_t kDatagramMagic = 0x6d736467;  // "msdg"
inline constexpr uint16_t kDatagramVersion = 1;
inline constexpr size_t kDatagramKeyLength = 16;

struct DatagramHeader {
  uint32_t magic = kDatagramMagic;
  uint16_t version = kDatagramVersion;
  uint16_t pad = 0;
  Endpoint from{}, to{};    ///< virtual
  Generation from_gen = 0;  ///< how often the sender had moved
  uint32_t pad2 = 0;
  uint64_t counter = 0;     ///< grows with every datagram that the sender's process sends, across its moves too
  uint8_t tag[16] = {};     ///< SipHash-2-4-128 with the job's key for datagrams, over the bytes before and the payload
};
static_assert(sizeof(DatagramHeader) == 56);
inline constexpr size_t kDatagramTagged = sizeof(DatagramHeader) - 16;  ///< the bytes before the tag

/// What UDP over IPv4 carries at most, and what of it is the program's.
inline constexpr size_t kMaxDatagram = 65507;
inline constexpr size_t kMaxDatagramPayload = kMaxDatagram - sizeof(DatagramHeader);

}  // namespace msocket::wire
