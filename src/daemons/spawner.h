// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <sched.h>
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "src/daemons/namespaces.h"

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
/// Starts a program as a child that dies with this daemon. Throws std::runtime_error with one line: what failed and why.
Spawned spawn_process(const SpawnSpec& spec);

/// The daemon holds a few descriptors for each rank: takes what the hard limit allows. Children get the limit back that was
/// there before.
void raise_descriptor_limit();

/// Finds `name` the way a shell does, with PATH out of `env` and relative to `cwd`. Throws "NAME: no such program".
std::string find_program(const std::string& name, const std::vector<std::string>& env, const std::string& cwd);

/// The folder of the running executable, where the system's other programs are.
std::string own_folder();

}  // namespace msocket::daemons
