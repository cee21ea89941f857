// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <signal.h>

#include <boost/program_options.hpp>
#include <iostream>

#include "src/mirror/mirror.h"

namespace po = boost::program_options;

int main(int argc, char** argv) {
  int mailbox = -1;
  po::options_description options("msmirror: stands in for a process that has moved; started by msdaemon.\nOptions");
  options.add_options()("help,h", "this text")("version", "the version")(
      "mailbox-fd", po::value(&mailbox), "inherited SOCK_SEQPACKET socket on which the connections arrive");
  try {
    po::variables_map given;
    po::store(po::parse_command_line(argc, argv, options), given);
    po::notify(given);
    if (given.count("help")) {
      std::cout << options;
      return 0;
    }
    if (given.count("version")) {
      std::cout << "msmirror " MSOCKET_VERSION "\n";
      return 0;
    }
    if (mailbox < 0) throw std::runtime_error("--mailbox-fd is needed; msdaemon gives it");
  } catch (const std::exception& error) {
    std::cerr << "msmirror: " << error.what() << "\n";
    return 1;
  }
  signal(SIGPIPE, SIG_IGN);
  return msocket::mirror::Mirror(msocket::ScopedFd(mailbox)).run();
}
