// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace msocket::daemons {

/// Pages as runs in ascending order that do not touch each other. Lists that are given need not be joined, but ascending.
class PageSet {
 public:
  struct Run {
    uint64_t start = 0, end = 0;
  };
  void add(const std::vector<Run>& runs);
  void remove(const std::vector<Run>& runs);
  /// Calls f(start, end, inside) for the parts of [start, end).
  template <class F>
  void each_part(uint64_t start, uint64_t end, F f) const {
    for (size_t i = first_behind(start); start < end; ++i) {
      if (i == runs_.size() || runs_[i].start >= end) return f(start, end, false);
      if (runs_[i].start > start) f(start, runs_[i].start, false), start = runs_[i].start;
      uint64_t stop = runs_[i].end < end ? runs_[i].end : end;
      f(start, stop, true);
      start = stop;
    }
  }
  const std::vector<Run>& runs() const { return runs_; }
  uint64_t bytes() const;

 private:
  size_t first_behind(uint64_t address) const;  ///< the first run that ends behind it
  std::vector<Run> runs_;
};

}  // namespace msocket::daemons
