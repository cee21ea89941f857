// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once

namespace msocket::checkpoint {

/// In the new process, by a thread that was started anew, when it may run: user, groups, capabilities and what else prctl keeps for each
/// thread are those that the first thread has been given back. Ends the process if that cannot be.
void be_who_the_process_is();

}  // namespace msocket::checkpoint
