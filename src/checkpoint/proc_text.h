// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Reading what /proc tells about this process, without libc's stdio. Async-signal-safe.
#pragma once
#include <fcntl.h>

#include <cstdint>

#include "src/transport/raw.h"

namespace msocket::checkpoint {

/// Writes prefix and number, and a zero byte.
void number_path(const char* prefix, long number, char* out);
/// The whole of a small file, as text: how much (less than `size`), or -errno.
long read_text(const char* path, char* text, unsigned long size);
/// The same for /proc/self/fdinfo/FD. False: it cannot be read.
bool read_fdinfo(int fd, char* text, unsigned long size);
/// The number behind the first `name` in the text; base 10 or 16. False: there is none.
bool number_after(const char* text, const char* name, unsigned base, uint64_t* value);
/// Takes a number off the text; a minus is understood.
int64_t take_number(const char** at, unsigned base);
/// Goes past blanks (not past the end of the line).
void skip_blanks(const char** at);
/// If the text goes on with this word: goes past it.
bool take_word(const char** at, const char* word);
/// The begin of the next line, or the end of the text.
const char* next_line(const char* at);
bool begins_with(const char* text, const char* begin);
bool ends_with(const char* text, const char* end);
/// Do two descriptors share their offset (kcmp)? False also where the kernel does not tell.
bool same_description(int one, int other);

struct DirectoryEntry {
  uint64_t inode;
  int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

/// Calls f(number) for each entry of a /proc directory whose name is a number, but for the descriptor that it reads with.
template <class F>
long each_number(const char* directory, F f) {
  long dir = raw::sys(SYS_openat, AT_FDCWD, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return dir;
  char buffer[2048] __attribute__((aligned(8)));
  for (;;) {
    long n = raw::sys(SYS_getdents64, dir, buffer, sizeof buffer);
    if (n <= 0) break;
    for (long at = 0; at < n;) {
      auto* entry = reinterpret_cast<DirectoryEntry*>(buffer + at);
      at += entry->length;
      if (entry->name[0] < '0' || entry->name[0] > '9') continue;
      long number = 0;
      for (const char* c = entry->name; *c; ++c) number = number * 10 + (*c - '0');
      if (number != dir) f(static_cast<int>(number));
    }
  }
  raw::close(static_cast<int>(dir));
  return 0;
}

}  // namespace msocket::checkpoint
