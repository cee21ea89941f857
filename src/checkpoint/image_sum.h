// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// MSOCKET_CHECK_IMAGE: is the new process's memory the frozen one's, byte for byte? A sum over what each region has of its own,
// made on both sides. Header-only and inlined, because the restorer uses it when libc is no longer mapped.
#pragma once
#include <cstdint>

#include "src/checkpoint/arch.h"
#include "src/checkpoint/pagemap.h"
#include "src/transport/raw.h"
#include "src/wire/image.h"

namespace msocket::checkpoint {

/// Where the frozen process itself stands while it sums: below its saved stack pointer nothing counts.
struct LiveStack {
  uint64_t start, end;
  explicit __attribute__((always_inline)) LiveStack(const wire::ImageHeader& header) {
    uint64_t page = reinterpret_cast<const Context*>(header.context)->rsp & ~uint64_t{4095};
    start = page - 256 * 1024;
    end = page + 2 * 4096;
  }
};

/// `pagemap`: /proc/self/pagemap, of a kernel with PAGEMAP_SCAN. The region can be read.
inline __attribute__((always_inline)) uint64_t sum_of(int pagemap, const wire::ImageRegion& region, const LiveStack& live) {
  ScanRegion found[32];
  ScanArgument argument{};
  argument.size = sizeof argument;
  argument.start = region.start;
  argument.end = region.end;
  argument.vec = reinterpret_cast<uint64_t>(found);
  argument.vec_len = 32;
  argument.category_inverted = argument.category_mask = kPageFile | kPageZero;
  argument.category_anyof_mask = kPagePresent | kPageSwapped;
  argument.return_mask = kPagePresent;
  uint64_t sum = 0;
  for (;;) {
    long n = raw::sys(SYS_ioctl, pagemap, kScan, &argument);
    if (n <= 0) return sum;
    for (long i = 0; i < n; ++i)
      for (uint64_t page = found[i].start; page < found[i].end; page += 4096) {
        if (page >= live.start && page < live.end) continue;
        uint64_t any = 0, of_page = page;
        for (auto* word = reinterpret_cast<const uint64_t*>(page); word < reinterpret_cast<const uint64_t*>(page + 4096); ++word) {
          any |= *word;
          of_page = (of_page ^ *word) * 0x9e3779b97f4a7c15u;
          of_page ^= of_page >> 29;
        }
        // Nothing but zeroes in anonymous memory: the same as no page.
        if (any || region.kind == wire::RegionKind::kFile) sum += of_page;
      }
    argument.start = argument.walk_end;
    if (argument.start >= region.end) return sum;
  }
}

}  // namespace msocket::checkpoint
