// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// This process's part in being copied while it runs: it lends its daemon the means to see which pages it writes, and when it is
// frozen it finds out what of its memory the daemon has not sent, or not as it is now. Async-signal-safe.
#pragma once
#include <cstdint>

#include "src/checkpoint/pages.h"
#include "src/wire/image.h"

namespace msocket::checkpoint {

/// transport::track_hook: gives the daemon a userfaultfd of this process. The daemon's is the only one: when it lets go of it,
/// the tracking is off, and a child has none.
void offer_tracking();

/// The pages that have been sent, in ascending order, out of the daemon's list.
class SentList {
 public:
  /// From the beginning of a file of wire::SentRun; negative: nothing has been sent. The descriptor stays the caller's.
  explicit SentList(int fd) : fd_(fd) {}
  /// Calls f(start, end, there) for the parts of [start, end), which lies behind all ranges before it. There is what has been sent
  /// into this ground.
  template <class F>
  void each_part(uint64_t start, uint64_t end, uint64_t ground, F f) {
    while (start < end) {
      while (more_ && now_.end <= start) read_next();
      if (!more_ || now_.start >= end) return f(start, end, false);
      if (now_.start > start) f(start, now_.start, false), start = now_.start;
      uint64_t stop = now_.end < end ? now_.end : end;
      f(start, stop, now_.ground == ground);
      start = stop;
    }
  }

 private:
  static constexpr int kBatch = 256;
  void read_next();
  int fd_;
  bool more_ = true;
  wire::SentRun now_{};
  int have_ = 0, taken_ = 0;
  uint64_t at_ = 0;
  wire::SentRun batch_[kBatch];
};

/// What the other side lacks of a region, in order: pages to be sent, and pages that it has and must forget.
class RegionRest {
 public:
  RegionRest(PageScanner* scanner, SentList* sent, const wire::ImageRegion& region)
      : scanner_(scanner), sent_(sent), file_(region.kind == wire::RegionKind::kFile), ground_(wire::ground_of(region)),
        at_(region.start), end_(region.end) {
    scanner->range(region.start, region.end, region.all, !file_);
  }
  /// Calls add(wire::ImagePart, start, end); 0 or -errno.
  template <class F>
  long each(F add) {
    auto forget = [&](uint64_t from, uint64_t to) {
      sent_->each_part(from, to, ground_, [&](uint64_t start, uint64_t end, bool there) {
        if (there) add(wire::ImagePart::kDrop, start, end);
      });
    };
    for (;;) {
      FoundRun found[kBatch];
      long n = scanner_->next_found(found, kBatch);
      if (n < 0) return n;
      if (n == 0) break;
      for (long i = 0; i < n; ++i) {
        const FoundRun& run = found[i];
        forget(at_, run.start);
        // In a file's mapping a page that was dropped leaves a mark that looks like a swapped one.
        bool clean = run.clean && !(file_ && run.swapped);
        sent_->each_part(run.start, run.end, ground_, [&](uint64_t start, uint64_t end, bool there) {
          if (!there || !clean) add(wire::ImagePart::kPages, start, end);
        });
        at_ = run.end;
      }
    }
    forget(at_, end_);
    return 0;
  }

 private:
  static constexpr int kBatch = 64;
  PageScanner* scanner_;
  SentList* sent_;
  bool file_;
  uint64_t ground_, at_, end_;
};

}  // namespace msocket::checkpoint
