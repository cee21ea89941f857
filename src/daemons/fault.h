// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once

namespace msocket::daemons {

/// A named fault point. With MSOCKET_FAULT=stage:action in the daemon's environment: "kill" ends the daemon with SIGKILL,
/// "refuse" throws std::runtime_error, once the stage is reached. Stages: prepare, handover, commit (at the destination);
/// freeze, committed (at the source). Used by the tests.
void fault_point(const char* stage);

}  // namespace msocket::daemons
