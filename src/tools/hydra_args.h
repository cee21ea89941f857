// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The command line of `mpiexec -migratable`: Hydra's own, and what becomes of it. Hydra's rules (MPICH 4.0): an option
// starts with one or more dashes, its name is case-blind, its value follows or is joined with '='; the first word without
// a dash is the executable, and everything up to a ':' are its arguments; then the next segment begins. Hosts are global
// wherever they stand. No I/O but the host and configuration files that the command line names.
#pragma once
#include <string>
#include <vector>

namespace msocket {

struct HydraArgs {
  bool migratable = false;
  bool help = false;             ///< -help, -h among the options
  bool has_program = false;
  std::string config;            ///< ours: -config FILE
  std::vector<std::string> hosts;  ///< in order, without ":slots"; empty: none were named
  std::string launcher;          ///< the user's: how daemons are started, Hydra gets `fork`
  std::string launcher_exec;
  bool has_localhost = false;    ///< -localhost was given
  std::string config_file;       ///< -configfile: to be replaced, see rewrite_config_file
  size_t config_file_at = 0;     ///< the place of its name in `hydra`
  std::vector<std::string> hydra;  ///< for mpiexec.hydra: the stub before each program, our own and the launcher's left out
};

/// `args` without the program's own name. Throws std::runtime_error: one line.
HydraArgs parse_hydra_args(const std::vector<std::string>& args, const std::string& stub);

/// Only whether -migratable is among the options (nothing else is looked at, so nothing can fail).
bool wants_migratable(const std::vector<std::string>& args);

/// The host names of a host file: "name[:slots] ..." on each line, '#' begins a comment.
std::vector<std::string> parse_host_file(const std::string& text);

/// A -configfile's text with the stub before each program; hosts that it names are added to `args`.
std::string rewrite_config_file(const std::string& text, const std::string& stub, HydraArgs& args);

}  // namespace msocket
