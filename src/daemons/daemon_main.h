// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The frame that msdaemon and msmaster have in common: options, one line for what goes wrong, a loop until the end.
#pragma once
#include <boost/program_options.hpp>
#include <functional>
#include <string>

#include "src/wire/async.h"

namespace msocket::daemons {

struct CommonOptions {
  std::string config;
  int port = -1;      ///< -1: as configured
  int lifeline = -1;  ///< -1: none
};

/// --help, --version and those of `common`; the program adds its own.
boost::program_options::options_description common_options(const std::string& about, CommonOptions& common);

/// Reads the command line and runs `body`; what that throws is one line on standard error. Returns the exit status.
int daemon_main(int argc, char** argv, const std::string& program,
                const boost::program_options::options_description& options, const std::function<void()>& body);

/// The log is standard error.
void log_as(const std::string& name);

/// Says where it listens and runs the loop until SIGTERM, SIGINT or the lifeline's end.
void serve(asio::io_context& io, const CommonOptions& common, const std::string& address, uint16_t port);

}  // namespace msocket::daemons
