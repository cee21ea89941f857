// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <string>

namespace msocket {

/// The GNU build id of an ELF file, raw bytes; when it has none (or is no ELF file) a stand-in made of its size and
/// contents' hash, so that two files compare equal only if they are. Empty when the file cannot be read.
std::string build_id(const std::string& path);

}  // namespace msocket
