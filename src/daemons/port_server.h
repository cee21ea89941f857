// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "src/daemons/stranger_log.h"
#include "src/wire/async.h"
#include "src/wire/link.h"
#include "src/wire/port.h"

namespace msocket::daemons {

/// Listens on one port, greets whoever comes, drops strangers and counts them, and hands on links and data connections.
/// At most kMaxUnknown connections wait at a time that have not said who they are: for one more, the oldest of the address
/// that has most of them is dropped. So a flood from one place keeps out itself, and never takes all descriptors.
class PortServer : public std::enable_shared_from_this<PortServer> {
 public:
  static constexpr size_t kMaxUnknown = 256;
  using OnLink = std::function<void(Link::Ptr)>;
  using OnData = std::function<awaitable<void>(tcp::socket, wire::Caller)>;
  /// Port 0: the kernel chooses. Throws std::runtime_error "cannot listen on ADDRESS:PORT: why".
  PortServer(asio::any_io_executor executor, const std::string& address, uint16_t port, wire::Key cluster);
  void start(OnLink on_link, OnData on_data);
  uint16_t port() const { return port_; }
  /// After a kStandby: what is said next on it (src/wire/port.h). Nothing: it is closed, or a stranger's, who is counted.
  awaitable<std::optional<wire::Caller>> greeted_again(tcp::socket& socket, const wire::Caller& before);
  /// Somebody who knows a key asks, at `from`, for what he must not have.
  void refused(wire::Reason reason, const std::string& from) { log_.add(reason, from); }
  uint64_t strangers() const { return log_.counts().total(); }
  uint64_t strangers(wire::Reason reason) const { return log_.counts().of(reason); }
  void list_strangers(proto::ListStrangers* reply) const;
  void stop();

 private:
  /// A connection that has not yet said who it is.
  struct Unknown {
    tcp::socket socket;
    std::string from;
    bool crowded_out = false;
  };
  using UnknownPtr = std::shared_ptr<Unknown>;

  awaitable<void> accept_loop();
  awaitable<void> receive(UnknownPtr unknown);
  void make_room();

  tcp::acceptor acceptor_;
  wire::Key cluster_;
  uint16_t port_ = 0;
  std::list<UnknownPtr> unknown_;  // the oldest first
  wire::SeenTags seen_;
  StrangerLog log_;
  OnLink on_link_;
  OnData on_data_;
};

/// The address at the other end, without its port; "?" when it has gone.
std::string address_of(const tcp::socket& socket);

}  // namespace msocket::daemons
