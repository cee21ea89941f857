// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <signal.h>
#include <spdlog/spdlog.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <boost/program_options.hpp>
#include <iostream>

#include "src/daemons/lifeline.h"
#include "src/daemons/master.h"

namespace po = boost::program_options;
using namespace msocket;

int main(int argc, char** argv) {
  std::string config_path, subnet, address;
  int port = -1, lifeline = -1;
  po::options_description options(
      "msmaster: the address server of one virtual subnet: which virtual addresses are in use, and where.\n"
      "Runs in the foreground; prints one line when it listens.\nOptions");
  options.add_options()("help,h", "this text")("version", "the version")(
      "config", po::value(&config_path), "the configuration (JSON; '-': standard input); see doc/configuration.md")(
      "subnet", po::value(&subnet), "serve this subnet of the configuration (default: its first)")(
      "address", po::value(&address), "listen on this address (default: the configured one)")("port", po::value(&port), "listen on this port (0: any)")(
      "lifeline-fd", po::value(&lifeline), "end when this descriptor does");
  try {
    po::variables_map given;
    po::store(po::parse_command_line(argc, argv, options), given);
    po::notify(given);
    if (given.count("help")) return std::cout << options, 0;
    if (given.count("version")) return std::cout << "msmaster " MSOCKET_VERSION "\n", 0;
    spdlog::set_default_logger(spdlog::stderr_logger_st("msmaster"));
    spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %n %l: %v");
    spdlog::flush_on(spdlog::level::info);
    wire::auth_init();
    Config config = daemons::config_for_daemon(config_path);
    if (config.masters.empty()) throw std::runtime_error("the configuration names no master");
    MasterConfig own = config.masters.front();
    if (!subnet.empty()) {
      bool found = false;
      for (auto& master : config.masters)
        if (master.subnet == subnet) own = master, found = true;
      if (!found) throw std::runtime_error("the configuration has no subnet " + subnet);
    }
    if (address.empty()) address = own.address;
    signal(SIGPIPE, SIG_IGN);
    asio::io_context io(1);
    daemons::Master master(io, config, own, address, port < 0 ? own.port : static_cast<uint16_t>(port));
    master.start();
    daemons::Lifeline end(io, lifeline);
    std::cout << "listening on " << address << ":" << master.port() << std::endl;
    io.run();
  } catch (const std::exception& error) {
    std::cerr << "msmaster: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
