// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace msocket::checkpoint {

struct PageRun {
  uint64_t start, end;
};

struct FoundRun {
  uint64_t start, end;
  bool clean;    ///< tracked, and not written since a scan of the daemon's
  bool swapped;  ///< not in memory
};

/// Finds, one batch after the other, the pages of this process that hold something of its own: present or swapped, not
/// still the file's, not the zero page. Uses the PAGEMAP_SCAN ioctl (Linux 6.7), else reads /proc/self/pagemap.
class PageScanner {
 public:
  /// Opens /proc/self/pagemap; 0 or -errno.
  long open();
  void close();
  /// Is the mapping that has this page registered?
  bool tracked(uint64_t page) const;
  int fd() const { return fd_; }
  /// Starts over on [start, end).
  /// `all`: every page of it, whatever the kernel could find again in a file. `anonymous`: it is no mapping of a file; the kernel
  /// need not look at each page's book then, which makes it ten times as fast.
  void range(uint64_t start, uint64_t end, bool all = false, bool anonymous = false);
  /// Fills up to `most` runs; 0: the range is done; negative: -errno.
  long next(PageRun* runs, int most);
  /// The same, with more about each run; without the ioctl none is clean.
  long next_found(FoundRun* runs, int most);

 private:
  long scan(struct ScanRegion* found, int most, uint64_t told);
  long next_by_ioctl(PageRun* runs, int most);
  long next_by_read(PageRun* runs, int most);
  int fd_ = -1;
  bool ioctl_works_ = true;
  uint64_t at_ = 0, end_ = 0;
  bool all_ = false, anonymous_ = false;
};

}  // namespace msocket::checkpoint
