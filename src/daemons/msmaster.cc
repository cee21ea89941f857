// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/daemon_main.h"
#include "src/daemons/lifeline.h"
#include "src/daemons/master.h"

namespace po = boost::program_options;
using namespace msocket;

int main(int argc, char** argv) {
  daemons::CommonOptions common;
  std::string subnet, address;
  po::options_description options = daemons::common_options(
      "msmaster: the address server of one virtual subnet: which virtual addresses are in use, and where.\n"
      "Runs in the foreground; prints one line when it listens.", common);
  options.add_options()("subnet", po::value(&subnet), "serve this subnet of the configuration (default: its first)")(
      "address", po::value(&address), "listen on this address (default: the configured one)");
  return daemons::daemon_main(argc, argv, "msmaster", options, [&] {
    daemons::log_as("msmaster");
    Config config = daemons::config_for_daemon(common.config);
    if (config.masters.empty()) throw std::runtime_error("the configuration names no master");
    MasterConfig own = config.masters.front();
    if (!subnet.empty()) {
      bool found = false;
      for (auto& master : config.masters)
        if (master.subnet == subnet) own = master, found = true;
      if (!found) throw std::runtime_error("the configuration has no subnet " + subnet);
    }
    if (address.empty()) address = own.address;
    asio::io_context io(1);
    daemons::Master master(io, config, own, address, common.port < 0 ? own.port : static_cast<uint16_t>(common.port));
    master.start();
    daemons::serve(io, common, address, master.port());
  });
}
