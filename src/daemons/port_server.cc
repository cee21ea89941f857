// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/port_server.h"

#include <fcntl.h>

#include <algorithm>
#include <map>
#include <stdexcept>

namespace msocket::daemons {

namespace {
constexpr Millis kGreetLimit(5000);
}

std::string address_of(const tcp::socket& socket) {
  boost::system::error_code error;
  auto endpoint = socket.remote_endpoint(error);
  return error ? "?" : endpoint.address().to_string();
}

PortServer::PortServer(asio::any_io_executor executor, const std::string& address, uint16_t port, wire::Key cluster)
    : acceptor_(executor), cluster_(cluster), log_(executor) {
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

void PortServer::list_strangers(proto::ListStrangers* reply) const {
  for (int i = 0; i < wire::kReasons; ++i) {
    auto reason = static_cast<wire::Reason>(i);
    auto* count = reply->add_counts();
    count->set_reason(wire::name(reason));
    count->set_meaning(wire::meaning(reason));
    count->set_count(strangers(reason));
  }
  reply->set_unknown(unknown_.size());
}

void PortServer::make_room() {
  if (unknown_.size() < kMaxUnknown) return;
  std::map<std::string, size_t> waiting;
  for (const auto& one : unknown_) ++waiting[one->from];
  auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  const std::string most = std::max_element(waiting.begin(), waiting.end(), fewer)->first;
  auto victim = std::find_if(unknown_.begin(), unknown_.end(), [&](const auto& one) { return one->from == most; });
  (*victim)->crowded_out = true;
  boost::system::error_code ignored;
  (*victim)->socket.close(ignored);  // receive() counts it
  unknown_.erase(victim);
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
    make_room();
    std::string from = address_of(accepted);
    auto unknown = std::make_shared<Unknown>(Unknown{std::move(accepted), from});
    unknown_.push_back(unknown);
    spawn(acceptor_.get_executor(), [self, unknown]() -> awaitable<void> { co_await self->receive(unknown); });
  }
}

awaitable<std::optional<wire::Caller>> PortServer::greeted_again(tcp::socket& socket, const wire::Caller& before) {
  std::optional<wire::Reason> bad;
  try {
    co_return co_await wire::greeted_again(socket, before, cluster_, kGreetLimit, &seen_);
  } catch (const wire::Stranger& stranger) {
    bad = stranger.reason();
  }
  log_.add(*bad, address_of(socket));
  co_return std::nullopt;
}

awaitable<void> PortServer::receive(UnknownPtr unknown) {
  auto self = shared_from_this();
  wire::Caller caller;
  Link::Ptr link;
  std::optional<wire::Reason> bad;
  try {
    caller = co_await wire::greet(unknown->socket, cluster_, kGreetLimit, &seen_);
    std::erase(unknown_, unknown);
    if (unknown->crowded_out) bad = wire::Reason::kCrowded;  // closed when its last byte had just come
    else if (caller.link)
      link = co_await Link::accepted(std::move(unknown->socket), caller.greeting, *caller.link, cluster_);
  } catch (const wire::Stranger& stranger) {
    bad = stranger.reason();
  } catch (const std::exception&) {
    bad = wire::Reason::kCut;
  }
  std::erase(unknown_, unknown);
  if (bad) {
    log_.add(unknown->crowded_out ? wire::Reason::kCrowded : *bad, unknown->from);
    co_return;
  }
  if (link) {
    link->on_stranger([self, from = unknown->from](wire::Reason reason) { self->refused(reason, from); });
    on_link_(link);
  } else if (on_data_) {
    co_await on_data_(std::move(unknown->socket), caller);
  }
}

}  // namespace msocket::daemons
