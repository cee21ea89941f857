// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A master and one daemon per host for a single job, where no configuration says that there are any. They are started
// like this, on this machine by fork, elsewhere through ssh:
//
//   msmaster --config - --lifeline-fd 0        prints "listening on ADDRESS:PORT" as its first line
//   msdaemon --config - --lifeline-fd 0        registers at the master
//
// Their standard input begins with the configuration on one line and an empty line, key and all (so it stands on no
// command line); after that the descriptor is their lifeline: they end when it reads EOF, that is, when this process ends
// in whatever way.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "src/tools/cluster.h"
#include "src/tools/session.h"

namespace msocket {

class PrivateCluster {
 public:
  struct Options {
    std::vector<std::string> hosts;  ///< node names; empty: this host alone
    std::string launcher;            ///< ssh (default), rsh, or fork: every host stands for this one
    std::string launcher_exec;       ///< instead of ssh, with its options, split at blanks; $MSOCKET_SSH too
  };

  /// Starts all of them and leaves `session`/config.json for msctl. Throws std::runtime_error: one line.
  PrivateCluster(const Session& session, const Options& options);
  /// Lets the lifelines go and waits until the local processes have ended (kills them after some seconds).
  ~PrivateCluster();
  PrivateCluster(const PrivateCluster&) = delete;
  PrivateCluster& operator=(const PrivateCluster&) = delete;

  const Config& config() const { return config_; }
  const std::vector<std::string>& hosts() const { return hosts_; }
  /// Waits until the master lists every node as alive; throws when a daemon ends instead or is too slow.
  awaitable<void> wait_ready(asio::any_io_executor executor);

 private:
  struct Child {
    std::string name;
    pid_t pid = -1;
    int lifeline = -1;
    std::string log;
  };

  Child launch(const std::string& name, const std::vector<std::string>& command, const Config& config, int out);
  void start_master(const std::string& address);
  void stop();

  const Session& session_;
  Config config_;
  std::vector<std::string> hosts_;
  std::vector<Child> children_;
};

std::string own_host_name();
/// "exit status 1", "killed by signal 9": what waitpid(2) said.
std::string ending(int wait_status);
/// The last line of a daemon's log, for a message.
std::string last_line_of(const std::string& log);
/// Whether `host` means this machine: localhost, its host name, 127.x.y.z or an address of its own.
bool is_local_host(const std::string& host);

}  // namespace msocket
