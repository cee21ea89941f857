// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/lifeline.h"

#include <errno.h>
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
    ssize_t got = error ? 0 : ::read(descriptor_.native_handle(), buffer, sizeof buffer);
    // Of a FIFO the last writer may have gone and a new one come before we looked: then there is no end of file.
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) watch();
    else io_.stop();
  });
}

}  // namespace msocket::daemons
