// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include "src/wire/async.h"

namespace msocket::daemons {

/// A named fault point. With MSOCKET_FAULT=stage:action in the daemon's environment: "kill" ends the daemon with SIGKILL,
/// "stop" stops it with SIGSTOP, "refuse" throws std::runtime_error, once the stage is reached. Stages: prepare, handover,
/// commit, registered (at the destination); freeze, committed (at the source). Used by the tests.
void fault_point(const char* stage);

/// `normal`, or the milliseconds that this environment variable says: for tests that wait for a limit.
Millis test_limit(const char* variable, Millis normal);

}  // namespace msocket::daemons
