// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Runs a policy that is a program of the user's: the state on its standard input, its answer on its standard output.
#pragma once
#include <string>

#include "src/wire/async.h"

namespace msocket {

/// Its standard error is ours. Blocks; the program is killed (its whole process group) when the limit has passed.
/// Throws std::runtime_error: it cannot be started, ends with another status than 0, answers too late or too much.
std::string run_policy_program(const std::string& program, const std::string& state, Millis limit);

}  // namespace msocket
