// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// New sockets for connections that a rank's processes have already: given to each of them, with one answer (doc/redirection.md).
#pragma once
#include "src/daemons/rank.h"

namespace msocket::daemons {

/// Gives the rank its new socket (it stays the caller's; fd < 0: none comes any more, about.error says why, 0: the peer has closed for good) and waits for the answer: an errno, 0
/// for done, ENOTCONN when no process has that connection. When its program has forked, every process that has the
/// connection stops using it before the first switches.
awaitable<int> install(Rank::Ptr rank, wire::ControlRecord about, int fd);

}  // namespace msocket::daemons
