// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// /proc/self/maps without libc. Header-only and inlined, because the restorer uses it when libc is no longer mapped.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>

#include "src/transport/raw.h"

namespace msocket::checkpoint {

struct Map {
  uint64_t start, end, offset;
  uint32_t prot;
  bool shared;
  uint32_t major, minor;
  uint64_t inode;
  const char* path;  ///< "" for anonymous memory; ends at '\n' in the text, see path_length
  uint32_t path_length;
};

/// Reads the whole file; returns its length or -errno (-ENOSPC: does not fit).
inline __attribute__((always_inline)) long read_maps(char* text, size_t size) {
  long fd = raw::sys(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fd;
  size_t have = 0;
  for (;;) {
    if (have == size) {
      raw::close(static_cast<int>(fd));
      return -28;
    }
    long n = raw::read(static_cast<int>(fd), text + have, size - have);
    if (n <= 0) {
      raw::close(static_cast<int>(fd));
      return n < 0 ? n : static_cast<long>(have);
    }
    have += n;
  }
}

/// Takes one line off the text; false at its end, or when what follows is no whole line.
inline __attribute__((always_inline)) bool next_map(const char*& p, const char* end, Map* map) {
  const char* line_end = p;
  while (line_end < end && *line_end != '\n') ++line_end;
  if (line_end >= end) return false;
  auto hex = [&]() {
    uint64_t value = 0;
    for (; p < line_end; ++p) {
      char c = *p;
      if (c >= '0' && c <= '9') value = value * 16 + (c - '0');
      else if (c >= 'a' && c <= 'f') value = value * 16 + (c - 'a' + 10);
      else break;
    }
    return value;
  };
  auto skip = [&](char mark) {
    if (p < line_end && *p == mark) ++p;
  };
  map->start = hex();
  skip('-');
  map->end = hex();
  skip(' ');
  if (line_end - p < 5) return false;
  map->prot = (p[0] == 'r' ? PROT_READ : 0) | (p[1] == 'w' ? PROT_WRITE : 0) | (p[2] == 'x' ? PROT_EXEC : 0);
  map->shared = p[3] == 's';
  p += 5;
  map->offset = hex();
  skip(' ');
  map->major = static_cast<uint32_t>(hex());
  skip(':');
  map->minor = static_cast<uint32_t>(hex());
  skip(' ');
  map->inode = 0;
  for (; p < line_end && *p >= '0' && *p <= '9'; ++p) map->inode = map->inode * 10 + (*p - '0');
  while (p < line_end && *p == ' ') ++p;
  map->path = p;
  map->path_length = static_cast<uint32_t>(line_end - p);
  p = line_end + 1;
  return true;
}

inline __attribute__((always_inline)) bool path_starts(const Map& map, const char* prefix) {
  uint32_t i = 0;
  for (; prefix[i]; ++i)
    if (i >= map.path_length || map.path[i] != prefix[i]) return false;
  return true;
}

inline __attribute__((always_inline)) bool is_deleted(const Map& map) {
  constexpr char kEnd[] = " (deleted)";
  constexpr uint32_t n = sizeof kEnd - 1;
  if (map.path_length < n) return false;
  for (uint32_t i = 0; i < n; ++i)
    if (map.path[map.path_length - n + i] != kEnd[i]) return false;
  return true;
}

}  // namespace msocket::checkpoint
