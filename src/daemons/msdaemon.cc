// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <signal.h>
#include <spdlog/spdlog.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <boost/program_options.hpp>
#include <iostream>

#include "src/daemons/lifeline.h"
#include "src/daemons/node.h"
#include "src/daemons/spawner.h"

namespace po = boost::program_options;
using namespace msocket;

int main(int argc, char** argv) {
  std::string config_path, name, address, listen_address;
  int port = -1, slots = -1, lifeline = -1;
  po::options_description options(
      "msdaemon: one per node: starts ranks, binds them to cores, moves them, and redirects their connections.\n"
      "Runs in the foreground; prints one line when it listens. Its ranks end with it.\nOptions");
  options.add_options()("help,h", "this text")("version", "the version")(
      "config", po::value(&config_path), "the configuration (JSON; '-': standard input); see doc/configuration.md")(
      "name", po::value(&name), "this node's name")("address", po::value(&address), "the address at which other nodes reach this one")(
      "listen", po::value(&listen_address), "listen on this address (default: the node's)")("port", po::value(&port), "listen on this port (0: any)")(
      "slots", po::value(&slots), "ranks that this node accepts (0: no limit)")(
      "lifeline-fd", po::value(&lifeline), "end when this descriptor does");
  try {
    po::variables_map given;
    po::store(po::parse_command_line(argc, argv, options), given);
    po::notify(given);
    if (given.count("help")) return std::cout << options, 0;
    if (given.count("version")) return std::cout << "msdaemon " MSOCKET_VERSION "\n", 0;
    wire::auth_init();
    Config config = daemons::config_for_daemon(config_path);
    if (!name.empty()) config.node.name = name;
    if (!address.empty()) config.node.address = address;
    if (port >= 0) config.node.port = static_cast<uint16_t>(port);
    if (slots >= 0) config.node.slots = static_cast<uint32_t>(slots);
    if (config.node.name.empty() || config.node.address.empty())
      throw std::runtime_error("a node needs a name and an address: \"node\" in the configuration, or --name and --address");
    spdlog::set_default_logger(spdlog::stderr_logger_st("msdaemon " + config.node.name));
    spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %n %l: %v");
    spdlog::flush_on(spdlog::level::info);
    if (listen_address.empty()) listen_address = config.node.address;
    signal(SIGPIPE, SIG_IGN);
    daemons::raise_descriptor_limit();
    asio::io_context io(1);
    daemons::Node node(io, config, listen_address);
    node.start();
    daemons::Lifeline end(io, lifeline);
    std::cout << "listening on " << listen_address << ":" << node.port() << std::endl;
    io.run();
  } catch (const std::exception& error) {
    std::cerr << "msdaemon: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
