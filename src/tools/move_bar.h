// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <chrono>
#include <string>

#include "src/wire/msocket.pb.h"

namespace msocket {

/// How a move that takes its time gets on: a bar on a terminal, else now and then a line. On standard error.
class MoveBar {
 public:
  using Clock = std::chrono::steady_clock;
  explicit MoveBar(bool terminal) : terminal_(terminal) {}
  ~MoveBar() { clear(); }
  /// What is to be written now; empty: nothing. A move that is over soon is not worth a word.
  std::string next(const proto::MoveProgress& progress, Clock::time_point now = Clock::now());
  /// next(), to standard error.
  void show(const proto::MoveProgress& progress);
  /// Takes the bar away.
  void clear();

 private:
  bool terminal_, shown_ = false;
  Clock::time_point last_{};
  double rate_ = 0, rate_at_ = 0;  // bytes a second, and when that was counted
  uint64_t rate_from_ = 0;
};

}  // namespace msocket
