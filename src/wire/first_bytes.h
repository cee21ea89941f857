// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What the first bytes of a connection say, both sides (conn_header.h has their layout, port.h the I/O). Everything here
// looks at bytes that anybody may have sent.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "src/wire/auth.h"
#include "src/wire/conn_header.h"
#include "src/wire/stranger.h"

namespace msocket::wire {

/// What a connection to our port turned out to be.
struct Caller {
  Greeting greeting;
  std::optional<LinkHello> link;
  std::optional<ConnHeader> data;  ///< tag already checked; job ends with a zero byte
};

/// How many bytes an opener's first words have in all, told by its preamble. Throws Stranger.
size_t opening_length(const Preamble& preamble);

/// Who has answered our greeting with these bytes, all of opening_length(). Throws Stranger. `seen` tells a replay from a tag
/// that is merely wrong, and learns the tags that are right.
Caller check_opening(const Greeting& greeting, const Key& cluster, std::span<const uint8_t> bytes,
                     SeenTags* seen = nullptr);

/// What was said behind a kStandby makes use of it: a kRedirect of the same job, between the same two processes.
bool continues(const Caller& standby, const Caller& next);

/// Why a greeting is none that we can answer; nullptr: it is one.
const char* why_not_greeting(const Greeting& greeting);

/// The acceptor knows the job's key and answers this very header.
bool good_answer(const Key& job, const Greeting& greeting, const ConnHeader& header, const Answer& answer);

}  // namespace msocket::wire
