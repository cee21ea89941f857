// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace msocket::checkpoint {

struct PageRun {
  uint64_t start, end;
};

/// Finds, one batch after the other, the pages of this process that hold something of its own: present or swapped, not
/// still the file's, not the zero page. Uses the PAGEMAP_SCAN ioctl (Linux 6.7), else reads /proc/self/pagemap.
class PageScanner {
 public:
  /// Opens /proc/self/pagemap; 0 or -errno.
  long open();
  void close();
  /// Starts over on [start, end).
  /// `all`: every page of it, whatever the kernel could find again in a file.
  void range(uint64_t start, uint64_t end, bool all = false);
  /// Fills up to `most` runs; 0: the range is done; negative: -errno.
  long next(PageRun* runs, int most);

 private:
  long next_by_ioctl(PageRun* runs, int most);
  long next_by_read(PageRun* runs, int most);
  int fd_ = -1;
  bool ioctl_works_ = true;
  uint64_t at_ = 0, end_ = 0;
  bool all_ = false;
};

}  // namespace msocket::checkpoint
