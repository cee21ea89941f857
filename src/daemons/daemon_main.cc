// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/daemon_main.h"

#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <iostream>

#include "src/daemons/lifeline.h"
#include "src/wire/auth.h"

namespace msocket::daemons {

namespace po = boost::program_options;

po::options_description common_options(const std::string& about, CommonOptions& common) {
  po::options_description options(about + "\nOptions");
  options.add_options()("help,h", "this text")("version", "the version")(
      "config", po::value(&common.config), "the configuration (JSON; '-': standard input); see doc/configuration.md")(
      "port", po::value(&common.port), "listen on this port (0: any)")(
      "lifeline-fd", po::value(&common.lifeline), "end when this descriptor does");
  return options;
}

int daemon_main(int argc, char** argv, const std::string& program, const po::options_description& options,
                const std::function<void()>& body) {
  try {
    po::variables_map given;
    po::store(po::parse_command_line(argc, argv, options), given);
    po::notify(given);
    if (given.count("help")) return std::cout << options, 0;
    if (given.count("version")) return std::cout << program << " " MSOCKET_VERSION "\n", 0;
    wire::auth_init();
    signal(SIGPIPE, SIG_IGN);
    body();
  } catch (const std::exception& error) {
    std::cerr << program << ": " << error.what() << "\n";
    return 1;
  }
  return 0;
}

void log_as(const std::string& name) {
  spdlog::set_default_logger(spdlog::stderr_logger_st(name));
  spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %n %l: %v");
  spdlog::flush_on(spdlog::level::info);
}

void serve(asio::io_context& io, const CommonOptions& common, const std::string& address, uint16_t port) {
  Lifeline end(io, common.lifeline);
  std::cout << "listening on " << address << ":" << port << std::endl;
  io.run();
}

}  // namespace msocket::daemons
