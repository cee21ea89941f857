// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The master and the daemon on this machine that all msruns of a user share where no configuration says that there are any.
// The first msrun starts them, and they end with the last. Their folder is local_cluster_folder() (src/wire/config.h):
//
//   lock                      held (flock) by whoever starts, joins or cleans up, and for no longer
//   lifeline                  a FIFO: the standard input of both daemons; each msrun has it open for writing as long as it
//                             lives, so they read its end when the last msrun has ended, in whatever way
//   config.json               for msruns and msctl, once the daemon is ready
//   msmaster.log, msdaemon.log
//
// Whoever opens the lifeline while a daemon reads it may be too late, as the daemon may have seen its end just before. So
// both are asked something after it is open: a daemon that answers has not seen the end, and will not see it any more.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "src/tools/cluster.h"
#include "src/util/scoped_fd.h"

namespace msocket {

class SharedCluster {
 public:
  SharedCluster() = default;
  /// Leaves; the last one also removes the files.
  ~SharedCluster();
  SharedCluster(const SharedCluster&) = delete;
  SharedCluster& operator=(const SharedCluster&) = delete;

  /// Joins the cluster, and starts it first if need be. Throws std::runtime_error: one line.
  awaitable<void> join(asio::any_io_executor executor);
  const Config& config() const { return config_; }

 private:
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  bool try_lock();
  awaitable<bool> answers(asio::any_io_executor executor);
  awaitable<void> start(asio::any_io_executor executor);
  pid_t launch(const std::string& program, int lifeline);
  awaitable<uint16_t> master_port(pid_t master);
  awaitable<void> wait_ready(asio::any_io_executor executor, pid_t master, pid_t daemon);
  void remove_files();

  std::string folder_;
  Config config_;
  ScopedFd lock_;      // while it is held
  ScopedFd lifeline_;  // its writing end
};

}  // namespace msocket
