// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/lifeline.h"

#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <iterator>

namespace msocket::daemons {

Config config_for_daemon(const std::string& path) {
  if (path == "-") {
    // One JSON object; the stream may stay open behind it as a lifeline, so it ends with an empty line.
    std::string text, line;
    while (std::getline(std::cin, line) && !line.empty()) text += line + "\n";
    return parse_config(text, "standard input");
  }
  auto found = find_config(path, false);
  if (!found) throw std::runtime_error("no configuration: give --config FILE or set MSOCKET_CONFIG");
  return load_config(*found);
}

Lifeline::Lifeline(asio::io_context& io, int fd) : signals_(io, SIGINT, SIGTERM), descriptor_(io), io_(io) {
  signals_.async_wait([this](auto error, int) {
    if (!error) io_.stop();
  });
  if (fd < 0) return;
  descriptor_.assign(fd);
  watch();
}

void Lifeline::watch() {
  descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, [this](auto error) {
    char buffer[256];
    if (error || ::read(descriptor_.native_handle(), buffer, sizeof buffer) <= 0) io_.stop();
    else watch();
  });
}

}  // namespace msocket::daemons
