// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// How a daemon hears what it is, and that its end has come.
#pragma once
#include <string>

#include "src/wire/async.h"
#include "src/wire/config.h"

namespace msocket::daemons {

/// Reads the configuration from `path` ("-": standard input; "": where config.h looks). Throws one line for a person.
Config config_for_daemon(const std::string& path);

/// Ends the event loop on SIGINT and SIGTERM, and when descriptor `fd` (if not negative) reads end of file: so a private
/// daemon ends with whoever started it, however that one ends. A FIFO must be opened non-blocking: it ends with the last of
/// its writers (src/tools/shared_cluster.h).
class Lifeline {
 public:
  Lifeline(asio::io_context& io, int fd);

 private:
  void watch();
  asio::signal_set signals_;
  asio::posix::stream_descriptor descriptor_;
  asio::io_context& io_;
};

}  // namespace msocket::daemons
