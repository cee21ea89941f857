// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What opening and accepting data connections have in common, for the first time (connector.h) and after a move (redirector.h).
#pragma once
#include "src/daemons/rank.h"
#include "src/util/scoped_fd.h"
#include "src/wire/port.h"

namespace msocket::daemons {

inline constexpr Millis kOpenLimit(5000);
inline constexpr Millis kRetry(5);         ///< after "moved": the news is on its way
inline constexpr Millis kRetryError(100);  ///< after an error

/// What a data connection of `rank` begins with; its tag is still to be made.
wire::ConnHeader header_for(wire::Purpose purpose, const Rank& rank, const wire::ControlRecord& about, Generation to_gen);
/// The authenticated answer to one who has come to our port.
wire::Answer make_answer(const wire::Caller& caller, const wire::Key& cluster, wire::Verdict verdict, Generation gen);
/// Sends it. On a fresh connection this cannot block, and nothing can come between.
void say(tcp::socket& socket, const wire::Caller& caller, const wire::Key& cluster, wire::Verdict verdict, Generation gen);
/// As a program expects a new socket: blocking, with Nagle's algorithm. The library sets again what the program has chosen.
void make_plain(tcp::socket& socket);
/// make_plain(), and out of the event loop: from here on it is the process's.
ScopedFd take(tcp::socket& socket);
/// The other end may stand still for long: that its node is gone shows all the same.
void watch_for_death(tcp::socket& socket);

}  // namespace msocket::daemons
