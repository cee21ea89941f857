// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <string_view>

namespace msocket {

/// The GNU build id of an ELF file, raw bytes; when it has none (or is no ELF file) a stand-in made of its size and
/// contents' hash, so that two files compare equal only if they are. Empty when the file cannot be read.
std::string build_id(const std::string& path);

/// The build id in an ELF file's bytes, whatever they are; empty: there is none.
std::string note_build_id(std::string_view file);

}  // namespace msocket
