// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/conn_state.h"

#include "src/transport/raw.h"

namespace msocket::transport {

namespace {
constexpr unsigned bit(ConnState s) { return 1u << static_cast<unsigned>(s); }
using enum ConnState;

// Row: from. Bits: to. Every state may become kFree: the program closes when it likes.
constexpr unsigned kLegal[static_cast<unsigned>(ConnState::kCount)] = {
    /* kFree        */ bit(kFresh) | bit(kEstablished) | bit(kAwaiting),  // socket(), accept(), accepted before a move
    /* kFresh       */ bit(kListening) | bit(kConnecting),
    /* kListening   */ 0,
    /* kConnecting  */ bit(kEstablished) | bit(kFailed),
    /* kFailed      */ bit(kConnecting),
    /* kEstablished */ bit(kAwaiting) | bit(kDraining),   // this end moved | the peer moved
    /* kAwaiting    */ bit(kDraining) | bit(kAwaiting),   // the new connection is there | this end moved on without it
    /* kDraining    */ bit(kEstablished) | bit(kBuffered) | bit(kDraining) | bit(kAwaiting),  // ... | peer, this end moved again
    /* kBuffered    */ bit(kEstablished) | bit(kAwaiting) | bit(kDraining),
};
unsigned serial;
}  // namespace

constinit Transition transition_log[kTransitionLog];

const char* name(ConnState state) {
  switch (state) {
    case kFree: return "free";
    case kFresh: return "fresh";
    case kListening: return "listening";
    case kConnecting: return "connecting";
    case kFailed: return "failed";
    case kEstablished: return "established";
    case kAwaiting: return "awaiting";
    case kDraining: return "draining";
    case kBuffered: return "buffered";
    case kCount: break;
  }
  return "?";
}

bool legal(ConnState from, ConnState to) {
  return to == kFree || (kLegal[static_cast<unsigned>(from)] & bit(to)) != 0;
}

void change_state(ConnState& state, ConnState to, int fd, const ConnId& conn) {
  if (!legal(state, to)) {
    raw::complain("impossible change of a connection's state; please report this:");
    raw::complain(name(state));
    raw::complain(name(to));
    raw::exit_group(134);
  }
  Transition& entry = transition_log[serial % kTransitionLog];
  entry.serial = serial++;
  entry.fd = fd;
  entry.from = state;
  entry.to = to;
  entry.conn = conn;
  state = to;
}

}  // namespace msocket::transport
