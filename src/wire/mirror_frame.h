// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What passes between a mirror and the process that it stands in for (paper 5.1), and what the old process and the daemon
// put into the mirror's mailbox. See doc/wire-format.md.
#pragma once
#include <cstdint>

#include "src/util/ids.h"

namespace msocket::wire {

inline constexpr uint32_t kMirrorMagic = 0x6d736d66;  // "msmf"
inline constexpr uint32_t kMirrorMaxData = 64 * 1024;

enum class Mirror : uint32_t {
  kData = 1,       ///< mirror -> process: `len` bytes of the peer's stream follow
  kEof = 2,        ///< mirror -> process: the peer's old stream has ended; len 0
  kReset = 3,      ///< mirror -> process: the peer's old stream was reset; len 0
  kHalfClose = 4,  ///< process -> mirror: the peer has the new connection; end the old stream towards it
};

/// Header of every frame on the mirror stream (TCP between nodes; little endian).
struct MirrorFrame {
  uint32_t magic = kMirrorMagic;
  Mirror type{};
  ConnId conn{};
  uint32_t len = 0;
  uint32_t pad = 0;
};
static_assert(sizeof(MirrorFrame) == 32);

enum class Mailbox : uint32_t {
  kConn = 1,      ///< one of the frozen process's connections; with a socket of it, if there is one: the next in order
  kGo = 2,        ///< from the daemon, with the stream to the new process: committed, begin
  kUpstream = 3,  ///< from the frozen process: the stream of its own mirror, from a move before, that has not ended yet
};

// Flags of kConn.
inline constexpr uint32_t kAfterUpstream = 1;  ///< the mirror before has still to give this connection's end: that comes first
inline constexpr uint32_t kShut = 2;           ///< our side of this socket is shut down already
/// From the daemon: the peer was given the other end of this socket, but nobody knows yet whether it has taken it. If it
/// does, the first bytes are a wire::Answer that says kOk; if it does not, the socket ends, or says something else.
inline constexpr uint32_t kUndecided = 4;

/// One message in the mirror's mailbox (SOCK_SEQPACKET). The mailbox's end without kGo means: called off, exit.
struct MailboxRecord {
  uint32_t magic = kMirrorMagic;
  Mailbox type{};
  ConnId conn{};
  uint32_t flags = 0;
  uint32_t frame_have = 0;  ///< kUpstream: so many bytes of `frame` were read,
  uint32_t frame_left = 0;  ///< and, when that is all of it, so many of its data are still to come
  uint32_t pad = 0;
  MirrorFrame frame{};
};
static_assert(sizeof(MailboxRecord) == 72);

/// What the frozen process, its mirror, its daemon and the process that it becomes call one end of a connection: its id, and
/// another one for the accepting end of a connection of a rank with itself (ids are random: nobody else has that one).
inline ConnId mirror_name(ConnId conn, uint32_t own_ip, uint32_t peer_ip, bool connector) {
  if (own_ip == peer_ip && !connector) conn.lo ^= 1;
  return conn;
}

}  // namespace msocket::wire
