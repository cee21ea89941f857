// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include "src/wire/async.h"

namespace msocket::daemons {

/// A named fault point. With MSOCKET_FAULT=stage:action in the daemon's environment: "kill" ends the daemon with SIGKILL,
/// "stop" stops it with SIGSTOP, "refuse" (not after the commit) throws std::runtime_error, once the stage is reached. With
/// MSOCKET_FAULT=@FILE the first line of that file says so, each time anew. The stages are in doc/migration.md. Used by the tests:
/// whatever else may happen at a stage, a test does it from outside while the daemon is stopped there.
void fault_point(const char* stage);

/// `normal`, or the milliseconds that this environment variable says: for tests that wait for a limit.
Millis test_limit(const char* variable, Millis normal);

}  // namespace msocket::daemons
