// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Restore by running the same program again: this process, fresh from exec, is refilled with another's memory and goes on
// where that one stood.
#pragma once

namespace msocket::checkpoint {

/// Reads the image from boot()->image_fd and becomes the process in it. Never returns; on failure the daemon gets a kRestored
/// record with the reason, and the process ends with status 1.
[[noreturn]] void become_image();

}  // namespace msocket::checkpoint
