// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/port_server.h"

#include <fcntl.h>

#include <stdexcept>

namespace msocket::daemons {

namespace {
constexpr Millis kGreetLimit(5000);
}

PortServer::PortServer(asio::any_io_executor executor, const std::string& address, uint16_t port, wire::Key cluster)
    : acceptor_(executor), cluster_(cluster) {
  try {
    tcp::endpoint endpoint(asio::ip::make_address(address), port);
    acceptor_.open(endpoint.protocol());
    fcntl(acceptor_.native_handle(), F_SETFD, FD_CLOEXEC);
    acceptor_.set_option(tcp::acceptor::reuse_address(true));
    acceptor_.bind(endpoint);
    acceptor_.listen(1024);
    port_ = acceptor_.local_endpoint().port();
  } catch (const boost::system::system_error& error) {
    throw std::runtime_error("cannot listen on " + address + ":" + std::to_string(port) + ": " + error.code().message());
  }
}

void PortServer::start(OnLink on_link, OnData on_data) {
  on_link_ = std::move(on_link);
  on_data_ = std::move(on_data);
  auto self = shared_from_this();
  spawn(acceptor_.get_executor(), [self]() -> awaitable<void> { co_await self->accept_loop(); });
}

void PortServer::stop() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
}

awaitable<void> PortServer::accept_loop() {
  auto self = shared_from_this();
  while (acceptor_.is_open()) {
    boost::system::error_code error;
    tcp::socket accepted = co_await acceptor_.async_accept(asio::redirect_error(use_awaitable, error));
    if (error == asio::error::operation_aborted) co_return;
    if (error) {  // out of descriptors, most likely: what is queued waits
      co_await sleep_for(Millis(50));
      continue;
    }
    fcntl(accepted.native_handle(), F_SETFD, FD_CLOEXEC);
    auto socket = std::make_shared<tcp::socket>(std::move(accepted));
    spawn(acceptor_.get_executor(), [self, socket]() -> awaitable<void> { co_await self->receive(socket); },
          [self](const std::string&) { ++self->strangers_; });
  }
}

awaitable<void> PortServer::receive(std::shared_ptr<tcp::socket> socket) {
  wire::Caller caller = co_await wire::greet(*socket, cluster_, kGreetLimit);
  if (caller.link) {
    Link::Ptr link = co_await Link::accepted(std::move(*socket), caller.greeting, *caller.link, cluster_);
    on_link_(link);
  } else if (on_data_) {
    co_await on_data_(std::move(*socket), caller);
  }
}

}  // namespace msocket::daemons
