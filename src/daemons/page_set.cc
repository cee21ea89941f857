// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/page_set.h"

#include <algorithm>

namespace msocket::daemons {

void PageSet::add(const std::vector<Run>& runs) {
  if (runs.empty()) return;
  std::vector<Run> all;
  all.reserve(runs_.size() + runs.size());
  auto append = [&](const Run& run) {
    if (!all.empty() && run.start <= all.back().end) all.back().end = std::max(all.back().end, run.end);
    else all.push_back(run);
  };
  size_t i = 0;
  for (const Run& run : runs) {
    while (i < runs_.size() && runs_[i].start <= run.start) append(runs_[i++]);
    append(run);
  }
  while (i < runs_.size()) append(runs_[i++]);
  runs_ = std::move(all);
}

void PageSet::remove(const std::vector<Run>& runs) {
  if (runs.empty() || runs_.empty()) return;
  std::vector<Run> left;
  left.reserve(runs_.size());
  size_t first = 0;
  for (const Run& run : runs_) {
    uint64_t at = run.start;
    while (first < runs.size() && runs[first].end <= at) ++first;
    for (size_t i = first; i < runs.size() && runs[i].start < run.end; ++i) {
      if (runs[i].start > at) left.push_back({at, runs[i].start});
      at = std::max(at, runs[i].end);
    }
    if (at < run.end) left.push_back({at, run.end});
  }
  runs_ = std::move(left);
}

uint64_t PageSet::bytes() const {
  uint64_t sum = 0;
  for (const Run& run : runs_) sum += run.end - run.start;
  return sum;
}

size_t PageSet::first_behind(uint64_t address) const {
  auto it = std::upper_bound(runs_.begin(), runs_.end(), address, [](uint64_t a, const Run& run) { return a < run.end; });
  return static_cast<size_t>(it - runs_.begin());
}

}  // namespace msocket::daemons
