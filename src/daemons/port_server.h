// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "src/wire/async.h"
#include "src/wire/link.h"
#include "src/wire/port.h"

namespace msocket::daemons {

/// Listens on one port, greets whoever comes, drops strangers and counts them, and hands on links and data connections.
class PortServer : public std::enable_shared_from_this<PortServer> {
 public:
  using OnLink = std::function<void(Link::Ptr)>;
  using OnData = std::function<awaitable<void>(tcp::socket, wire::Caller)>;
  /// Port 0: the kernel chooses. Throws std::runtime_error "cannot listen on ADDRESS:PORT: why".
  PortServer(asio::any_io_executor executor, const std::string& address, uint16_t port, wire::Key cluster);
  void start(OnLink on_link, OnData on_data);
  uint16_t port() const { return port_; }
  uint64_t strangers() const { return strangers_; }
  void stop();

 private:
  awaitable<void> accept_loop();
  awaitable<void> receive(std::shared_ptr<tcp::socket> socket);
  tcp::acceptor acceptor_;
  wire::Key cluster_;
  uint16_t port_ = 0;
  uint64_t strangers_ = 0;
  OnLink on_link_;
  OnData on_data_;
};

}  // namespace msocket::daemons
