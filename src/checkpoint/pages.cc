// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/pages.h"

#include <errno.h>
#include <fcntl.h>

#include "src/checkpoint/pagemap.h"
#include "src/transport/raw.h"

namespace msocket::checkpoint {

namespace {

constexpr uint64_t kMapPresent = 1ull << 63, kMapSwapped = 1ull << 62, kMapFile = 1ull << 61;
constexpr uint64_t kPage = 4096;
constexpr int kBatch = 128;
}  // namespace

long PageScanner::open() {
  long fd = raw::sys(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  fd_ = static_cast<int>(fd);
  return fd < 0 ? fd : 0;
}

void PageScanner::close() {
  if (fd_ >= 0) raw::close(fd_);
  fd_ = -1;
}

void PageScanner::range(uint64_t start, uint64_t end, bool all, bool anonymous) {
  all_ = all;
  anonymous_ = anonymous;
  at_ = start;
  end_ = end;
}

long PageScanner::next(PageRun* runs, int most) {
  if (at_ >= end_) return 0;
  if (all_) {
    runs[0] = {at_, end_};
    at_ = end_;
    return 1;
  }
  if (ioctl_works_) {
    long n = next_by_ioctl(runs, most);
    if (n != -ENOTTY && n != -EINVAL) return n;
    ioctl_works_ = false;
  }
  return next_by_read(runs, most);
}

bool PageScanner::tracked(uint64_t page) const {
  ScanRegion found;
  ScanArgument argument{};
  argument.size = sizeof argument;
  argument.start = page;
  argument.end = page + kPage;
  argument.vec = reinterpret_cast<uint64_t>(&found);
  argument.vec_len = 1;
  argument.category_mask = argument.return_mask = kPageTracked;
  return raw::sys(SYS_ioctl, fd_, kScan, &argument) == 1;
}

long PageScanner::scan(ScanRegion* found, int most, uint64_t told) {
  ScanArgument argument{};
  argument.size = sizeof argument;
  argument.start = at_;
  argument.end = end_;
  argument.vec = reinterpret_cast<uint64_t>(found);
  argument.vec_len = most < kBatch ? most : kBatch;
  argument.category_inverted = argument.category_mask = anonymous_ ? kPageZero : kPageFile | kPageZero;
  argument.category_anyof_mask = kPagePresent | kPageSwapped;
  argument.return_mask = told;
  long n = raw::sys(SYS_ioctl, fd_, kScan, &argument);
  if (n >= 0) at_ = argument.walk_end;
  return n;
}

long PageScanner::next_by_ioctl(PageRun* runs, int most) {
  ScanRegion found[kBatch];
  long n = scan(found, most, kPagePresent);
  if (n < 0) return n;
  // Neighbours that differ only in being present or swapped come as two: join them.
  int count = 0;
  for (long i = 0; i < n; ++i) {
    if (count && runs[count - 1].end == found[i].start) runs[count - 1].end = found[i].end;
    else runs[count++] = {found[i].start, found[i].end};
  }
  return count;
}

long PageScanner::next_found(FoundRun* runs, int most) {
  if (at_ >= end_) return 0;
  if (ioctl_works_ && !all_) {
    ScanRegion found[kBatch];
    long n = scan(found, most, kPagePresent | kPageSwapped | kPageTracked | kPageWritten);
    for (long i = 0; i < n; ++i) {
      uint64_t is = found[i].categories;
      runs[i] = {found[i].start, found[i].end, (is & kPageTracked) && !(is & kPageWritten), (is & kPageSwapped) != 0};
    }
    if (n != -ENOTTY && n != -EINVAL) return n;
    ioctl_works_ = false;
  }
  PageRun plain[kBatch];
  long n = next(plain, most < kBatch ? most : kBatch);
  for (long i = 0; i < n; ++i) runs[i] = {plain[i].start, plain[i].end, false, false};
  return n;
}

long PageScanner::next_by_read(PageRun* runs, int most) {
  int count = 0;
  while (at_ < end_ && count < most) {
    uint64_t entries[512];
    uint64_t want = (end_ - at_) / kPage;
    if (want > 512) want = 512;
    long n = raw::sys(SYS_pread64, fd_, entries, want * 8, at_ / kPage * 8);
    if (n <= 0) return n < 0 ? n : -EIO;
    for (long i = 0; i < n / 8 && count < most; ++i, at_ += kPage) {
      if (!(entries[i] & (kMapPresent | kMapSwapped)) || (entries[i] & kMapFile)) continue;
      if (count && runs[count - 1].end == at_) runs[count - 1].end += kPage;
      else runs[count++] = {at_, at_ + kPage};
    }
    if (count == most) --count, at_ = runs[count].start;  // the last may go on: leave it to the next batch
    if (count == most - 1) break;
  }
  return count;
}

}  // namespace msocket::checkpoint
