// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <string>

namespace msocket {

/// What is in the image file of a suspended process, on standard output, once all of it is found whole. The exit status.
/// Throws std::runtime_error with the offset of a damage.
int show_image(const std::string& path, bool json);

}  // namespace msocket
