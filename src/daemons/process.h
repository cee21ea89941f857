// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "src/util/scoped_fd.h"
#include "src/wire/async.h"
#include "src/wire/control.h"

namespace msocket::daemons {

/// The daemon's end of one process's control channel (paper 6.3).
class ProcessChannel : public std::enable_shared_from_this<ProcessChannel> {
 public:
  using Ptr = std::shared_ptr<ProcessChannel>;
  using OnRecord = std::function<void(const wire::ControlRecord&, std::vector<ScopedFd>)>;

  ProcessChannel(asio::any_io_executor executor, ScopedFd fd);
  /// Calls on_record for every record until the process is gone; then on_end.
  void start(OnRecord on_record, std::function<void()> on_end);
  /// False: the process is gone. The descriptors stay the caller's. Never waits: what a process that stands still has no room
  /// for is kept until it has.
  bool send(const wire::ControlRecord& record, std::vector<int> fds = {});
  /// The same for what may be lost, without descriptors: false also when its queue is full.
  bool try_send(const wire::ControlRecord& record);
  void close();
  uint64_t forks = 0;  ///< kFork records that have come from this process and its ancestors

 private:
  awaitable<void> read_loop();
  awaitable<void> write_loop();
  bool has_room();
  asio::posix::stream_descriptor descriptor_;
  std::deque<std::pair<wire::ControlRecord, std::vector<ScopedFd>>> kept_;
  bool writing_ = false;
  OnRecord on_record_;
  std::function<void()> on_end_;
};

}  // namespace msocket::daemons
