// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <memory>
#include <string>

#include "src/wire/async.h"
#include "src/wire/stranger.h"

namespace msocket::daemons {

/// Counts strangers and says so in the log: the first at once, those of the following ten seconds in one line, and so on
/// as long as they come. However many there are, the log grows by a line every ten seconds.
class StrangerLog {
 public:
  explicit StrangerLog(asio::any_io_executor executor) : state_(std::make_shared<State>(executor)) {}
  ~StrangerLog() { state_->timer.cancel(); }
  StrangerLog(const StrangerLog&) = delete;
  StrangerLog& operator=(const StrangerLog&) = delete;
  void add(wire::Reason reason, const std::string& from);
  const wire::StrangerCounts& counts() const { return state_->counts; }

 private:
  struct State {
    explicit State(asio::any_io_executor executor) : timer(executor) {}
    asio::steady_timer timer;
    wire::StrangerCounts counts, said;  ///< in all, and when the last line was written
    std::string last_from;
    bool quiet = false;                 ///< a line was written less than ten seconds ago
  };
  static void wait(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;  // the timer's too
};

/// "3 tag, 1 magic": what has been counted since `before`; empty: nothing.
std::string difference(const wire::StrangerCounts& now, const wire::StrangerCounts& before);

}  // namespace msocket::daemons
