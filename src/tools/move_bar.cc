// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/move_bar.h"

#include <algorithm>
#include <cstdio>

#include "src/tools/names.h"
#include "src/tools/table.h"

namespace msocket {

namespace {
constexpr double kQuiet = 2;                        // seconds
constexpr double kRateOver = 1;
constexpr std::chrono::seconds kLineEvery(2);
constexpr int kWidth = 24;
}  // namespace

std::string MoveBar::next(const proto::MoveProgress& progress, Clock::time_point now) {
  double span = progress.seconds() - rate_at_;
  if (span >= kRateOver || rate_ == 0) {
    if (span > 0) rate_ = static_cast<double>(progress.sent() - std::min(rate_from_, progress.sent())) / span;
    rate_at_ = progress.seconds();
    rate_from_ = progress.sent();
  }
  if (progress.seconds() < kQuiet) return {};
  if (!terminal_ && now - last_ < kLineEvery) return {};
  last_ = now;
  double all = static_cast<double>(progress.sent() + progress.rest());
  int full = all > 0 ? static_cast<int>(static_cast<double>(progress.sent()) / all * kWidth) : 0;
  std::string bar = terminal_ ? "[" + std::string(full, '#') + std::string(kWidth - full, '.') + "]  " : "";
  char text[200];
  constexpr double kMiB = 1 << 20;
  std::snprintf(text, sizeof text, "%s  %sround %u  %.0f MiB  %.0f MiB/s  rest %.0f MiB",
                rank_name(progress.job(), progress.rank()).c_str(), bar.c_str(), progress.round(),
                static_cast<double>(progress.sent()) / kMiB, rate_ / kMiB, static_cast<double>(progress.rest()) / kMiB);
  return terminal_ ? "\r\033[K" + std::string(text) : text + std::string("\n");
}

void MoveBar::show(const proto::MoveProgress& progress) {
  std::string text = next(progress);
  if (text.empty()) return;
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
  shown_ = true;
}

void MoveBar::clear() {
  if (shown_ && terminal_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

}  // namespace msocket
