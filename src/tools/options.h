// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What the command lines of msctl, msbalance and msrun have in common (Boost.Program_options): --help, --version,
// --config FILE, one line on stderr and exit status 1 for every error.
#pragma once
#include <boost/program_options.hpp>
#include <functional>
#include <string>
#include <vector>

#include "src/wire/async.h"
#include "src/wire/config.h"

namespace msocket {

namespace po = boost::program_options;

struct CommandLine {
  po::variables_map values;
  std::vector<std::string> words;  ///< what is not an option
  bool has(const char* name) const { return values.count(name) > 0; }
  std::string text(const char* name) const { return has(name) ? values[name].as<std::string>() : ""; }
};

/// --help, --version and --config.
po::options_description common_options();

/// `program_follows`: the first word ends the options, what follows is its own. Prints the answer and exits on --help (the
/// text and the options) and --version. Throws std::runtime_error with a line on bad usage.
CommandLine parse_options(int argc, char** argv, const po::options_description& options, const std::string& program,
                          const std::string& help, bool program_follows = false);

/// The configuration to talk to; throws when there is none.
Config require_config(const CommandLine& line);

/// Runs `work` on a loop of its own and returns its result; an exception becomes `program: why` and status 1.
int run_tool(const std::string& program, std::function<awaitable<int>(asio::any_io_executor)> work);

}  // namespace msocket
