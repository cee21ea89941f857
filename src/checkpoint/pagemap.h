// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The PAGEMAP_SCAN ioctl (Linux 6.7) on /proc/PID/pagemap: <linux/fs.h> of Debian 12 does not know it yet. One call finds the
// pages of a range that are of some kind, as runs, and may protect them against unnoticed writing in the same moment.
#pragma once
#include <sys/ioctl.h>

#include <cstdint>

namespace msocket::checkpoint {

struct ScanArgument {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct ScanRegion {
  uint64_t start, end, categories;
};
inline constexpr unsigned long kScan = _IOWR('f', 16, ScanArgument);
/// Flag: from now on the kernel notes when one of the pages found is written. Memory that is not tracked is passed over.
inline constexpr uint64_t kScanProtect = 1;
/// Categories. kPageTracked is one of the mapping: it is registered. Without that every page counts as written.
inline constexpr uint64_t kPageTracked = 1 << 0, kPageWritten = 1 << 1, kPageFile = 1 << 2, kPagePresent = 1 << 3,
                          kPageSwapped = 1 << 4, kPageZero = 1 << 5;

}  // namespace msocket::checkpoint
