// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <spdlog/spdlog.h>

#include "src/daemons/daemon_main.h"
#include "src/daemons/lifeline.h"
#include "src/daemons/namespaces.h"
#include "src/daemons/node.h"
#include "src/daemons/spawner.h"

namespace po = boost::program_options;
using namespace msocket;

int main(int argc, char** argv) {
  daemons::CommonOptions common;
  std::string name, address, listen_address;
  int slots = -1, move_limit = -1;
  po::options_description options = daemons::common_options(
      "msdaemon: one per node: starts ranks, binds them to cores, moves them, and redirects their connections.\n"
      "Runs in the foreground; prints one line when it listens. Its ranks end with it.", common);
  options.add_options()("name", po::value(&name), "this node's name")(
      "address", po::value(&address), "the address at which other nodes reach this one")(
      "listen", po::value(&listen_address), "listen on this address (default: the node's)")(
      "slots", po::value(&slots), "ranks that this node accepts (0: no limit)")(
      "move-limit", po::value(&move_limit), "MiB/s at which a rank's memory is copied while it runs (0: no limit)");
  return daemons::daemon_main(argc, argv, "msdaemon", options, [&] {
    Config config = daemons::config_for_daemon(common.config);
    if (!name.empty()) config.node.name = name;
    if (!address.empty()) config.node.address = address;
    if (common.port >= 0) config.node.port = static_cast<uint16_t>(common.port);
    if (slots >= 0) config.node.slots = static_cast<uint32_t>(slots);
    if (move_limit >= 0) config.node.move_limit = static_cast<uint32_t>(move_limit);
    if (config.node.name.empty() || config.node.address.empty())
      throw std::runtime_error("a node needs a name and an address: \"node\" in the configuration, or --name and --address");
    daemons::log_as("msdaemon " + config.node.name);
    if (listen_address.empty()) listen_address = config.node.address;
    daemons::raise_descriptor_limit();
    if (const auto& here = daemons::namespaces_here(); here.kind == daemons::NamespaceKind::kNone)
      spdlog::info("processes that come here get new process ids and this host's clock: {}", here.why_not);
    asio::io_context io(1);
    daemons::Node node(io, config, listen_address);
    node.start();
    daemons::serve(io, common, listen_address, node.port());
  });
}
