// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <sched.h>
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "src/daemons/namespaces.h"
#include "src/util/scoped_fd.h"
#include "src/wire/async.h"

namespace msocket::daemons {

struct SpawnSpec {
  std::string program;               ///< resolved path
  std::vector<std::string> argv;
  std::vector<std::string> env;      ///< NAME=value
  std::string cwd;                   ///< empty: the daemon's
  unsigned umask = 022;
  cpu_set_t cpus{};                  ///< empty: not bound
  bool all_descriptors = false;      ///< keeps the daemon's raised limit
  bool fixed_addresses = false;      ///< personality(ADDR_NO_RANDOMIZE), which moving needs
  std::vector<std::pair<int, int>> fds;  ///< (ours, the child's number); everything else is closed
  NamespaceKind namespaces = NamespaceKind::kNone;  ///< not kNone: in its own ones, as `identity`
  Identity identity{};
};

struct Spawned {
  pid_t pid = -1;
  pid_t init = -1;  ///< of its pid namespace, a child of ours, too; -1: it has none of its own
};

/// A program that is being started, as a child that dies with this daemon. The thread that makes this must live as long as the daemon.
class Spawning {
 public:
  /// The child is there when this returns: what it needs may be closed. Throws std::runtime_error with one line: what failed and why.
  explicit Spawning(const SpawnSpec& spec);
  /// Readable when take() does not wait.
  int fd() const { return report_.get(); }
  /// Hears what the child says. True: that was all, result() knows.
  bool take();
  /// Throws as the constructor does.
  Spawned result();

 private:
  std::string program_;
  bool apart_;
  pid_t child_;
  ScopedFd report_;
  Spawned spawned_;
  SpawnReport failure_;
};

/// Both wait until the program proper has begun: the one lets the event loop go on meanwhile, the other does not.
awaitable<Spawned> start_process(asio::any_io_executor executor, const SpawnSpec& spec);
Spawned spawn_process(const SpawnSpec& spec);

/// The daemon holds a few descriptors for each rank: takes what the hard limit allows. Children get the limit back that was
/// there before.
void raise_descriptor_limit();

/// Finds `name` the way a shell does, with PATH out of `env` and relative to `cwd`. Throws "NAME: no such program".
std::string find_program(const std::string& name, const std::vector<std::string>& env, const std::string& cwd);

/// The folder of the running executable, where the system's other programs are.
std::string own_folder();

}  // namespace msocket::daemons
