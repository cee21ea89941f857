// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The first bytes on every TCP connection to a daemon's port. The acceptor greets with a nonce; the opener answers with a
// LinkHello (a conversation between daemons or tools, sealed from there on) or with a ConnHeader (a data connection, plain
// after the Answer). Every tag is keyed and covers the acceptor's nonce, so nothing can be replayed. All integers are
// little endian. See doc/wire-format.md.
#pragma once
#include <array>
#include <cstdint>

#include "src/util/ids.h"

namespace msocket::wire {

inline constexpr uint32_t kPortMagic = 0x6d73706f;  // "mspo"
inline constexpr uint16_t kPortVersion = 1;
using Nonce = std::array<uint8_t, 32>;
using Tag = std::array<uint8_t, 32>;

struct Greeting {
  uint32_t magic = kPortMagic;
  uint16_t version = kPortVersion;
  uint16_t pad = 0;
  Nonce nonce{};
};
static_assert(sizeof(Greeting) == 40);

enum class Purpose : uint16_t {
  kLink = 1,      ///< LinkHello: Protobuf envelopes in sealed frames
  kOpen = 2,      ///< a program's connect()
  kRedirect = 3,  ///< the same connection again, after a move of one end or both
  kImage = 4,     ///< a process image
  kMirror = 5,    ///< the mirror's stream
  kStandby = 6,   ///< waits, authenticated, until the same opener says kRedirect on it
};

/// What every opener sends first; a ConnHeader's first bytes are the same.
struct Preamble {
  uint32_t magic = kPortMagic;
  uint16_t version = kPortVersion;
  Purpose purpose{};
};

struct LinkHello {
  Preamble preamble{.purpose = Purpose::kLink};
  Nonce nonce{};
  Tag tag{};  ///< cluster key over greeting and the bytes before
};
static_assert(sizeof(LinkHello) == 72);

/// kRedirect: the opener's process has itself moved and waits for this connection. kStandby: it is going to.
inline constexpr uint32_t kOpenerAwaits = 1;

struct ConnHeader {
  Preamble preamble{};
  ConnId conn{};
  Endpoint from{}, to{};  ///< virtual; for kImage and kMirror `to` is the process that moves
  Generation from_gen = 0, to_gen = 0;
  uint32_t flags = 0;     ///< kOpenerAwaits
  uint32_t pad = 0;
  char job[32] = {};      ///< NUL-padded; the tag's key is this job's
  Tag tag{};              ///< job key over greeting and the bytes before
};
static_assert(sizeof(ConnHeader) == 120);

enum class Verdict : uint32_t {
  kOk = 0,
  kRefused = 1,   ///< no such listener (ECONNREFUSED), or no such process
  kMoved = 2,     ///< not here any more: look up again
  kGone = 3,      ///< kRedirect: the program has closed this connection
  kNotYet = 4,    ///< in the middle of a move: ask again shortly
};

struct Answer {
  uint32_t magic = kPortMagic;
  Verdict verdict{};
  Generation gen = 0;  ///< the answering process's generation
  uint32_t pad = 0;
  Tag tag{};           ///< job key over greeting, header and the bytes before
};
static_assert(sizeof(Answer) == 48);

}  // namespace msocket::wire
