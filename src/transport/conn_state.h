// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The one state machine of a virtual socket (design: doc/architecture.md; paper 5.5). One table says which transitions are
// legal; one function makes them, asserts, and leaves a line in the log ring.
#pragma once
#include <cstdint>

#include "src/util/ids.h"

namespace msocket::transport {

enum class ConnState : uint8_t {
  kFree = 0,     ///< the slot is not in use
  kFresh,        ///< socket() has made it; under the number is an ordinary TCP socket that carries the options
  kListening,    ///< under the number is the listener channel from the daemon: readable when a peer waits
  kConnecting,   ///< connect() has asked the daemon; the caller sees EINPROGRESS, or waits
  kFailed,       ///< connect() came to nothing; SO_ERROR tells
  kEstablished,  ///< under the number is the connection itself: the fast path
  kAwaiting,     ///< this process has just moved: reads come from the mirror; a little is taken of what is written, then writes wait
  kDraining,     ///< the new connection is under the number; reads come from the old one until its end
  kBuffered,     ///< the old one is gone; what it left is read from memory first
  kCount,
};

const char* name(ConnState state);
bool legal(ConnState from, ConnState to);

/// One line of the in-memory log that a debugger or a core dump shows: `p msocket::transport::transition_log`.
struct Transition {
  uint32_t serial;
  int32_t fd;
  ConnState from, to;
  uint16_t pad;
  ConnId conn;
};
inline constexpr unsigned kTransitionLog = 256;
extern Transition transition_log[kTransitionLog];

/// Changes `state`; an illegal transition ends the process with a message, in release builds too. Async-signal-safe.
void change_state(ConnState& state, ConnState to, int fd, const ConnId& conn);

}  // namespace msocket::transport
