// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <memory>
#include <string>

#include "src/daemons/port_server.h"
#include "src/daemons/registry.h"
#include "src/wire/config.h"

namespace msocket::daemons {

/// msmaster: the address server of one virtual subnet (paper 5.2, 6.1), and the list of nodes. It holds nothing that it
/// cannot be told again: a restarted master knows everything after one round of the daemons' registrations, and running
/// connections never notice.
class Master {
 public:
  Master(asio::io_context& io, const Config& config, const MasterConfig& own, const std::string& listen_address,
         uint16_t listen_port);
  void start();
  uint16_t port() const { return server_->port(); }

 private:
  awaitable<void> serve(Link::Ptr link, proto::Envelope request, proto::Envelope& reply);
  awaitable<void> clean_loop();

  asio::io_context& io_;
  std::shared_ptr<PortServer> server_;
  Registry registry_;
};

}  // namespace msocket::daemons
