// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

namespace msocket {

/// The GNU build id of an ELF file, raw bytes; when it has none (or is no ELF file) a stand-in made of its size and
/// contents' hash, so that two files compare equal only if they are. Empty when the file cannot be read.
std::string build_id(const std::string& path);

/// The same, kept as long as the file's inode, size and times stay what they were. For a program with one thread.
class BuildIds {
 public:
  std::string of(const std::string& path);

 private:
  using File = std::tuple<dev_t, ino_t, off_t, int64_t, int64_t, int64_t, int64_t>;
  std::map<std::string, std::pair<File, std::string>> known_;
};

/// The build id in an ELF file's bytes, whatever they are; empty: there is none.
std::string note_build_id(std::string_view file);

}  // namespace msocket
