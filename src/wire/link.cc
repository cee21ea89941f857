// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>
#include <stdexcept>

#include "src/wire/port.h"

namespace msocket {

namespace {
constexpr Millis kAcceptLimit(5000);  // for the other end's first words after its hello

std::string endpoint_name(const tcp::socket& socket) {
  boost::system::error_code error;
  auto endpoint = socket.remote_endpoint(error);
  return error ? "closed" : endpoint.address().to_string() + ":" + std::to_string(endpoint.port());
}
}  // namespace

Link::Link(tcp::socket socket, std::string name) : socket_(std::move(socket)), name_(std::move(name)) {
  boost::system::error_code ignored;
  socket_.set_option(tcp::no_delay(true), ignored);
  // A host that vanishes sends no FIN: notice it within some ten seconds.
  int on = 1, idle = 5, interval = 2, count = 3, user_timeout_ms = 10000, fd = socket_.native_handle();
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}

awaitable<Link::Ptr> Link::connect(asio::any_io_executor executor, std::string address, uint16_t port, wire::Key cluster,
                                   Millis limit) {
  wire::PortStream stream = co_await wire::open_port(executor, address, port, limit);
  wire::LinkHello hello;
  hello.nonce = wire::random_nonce();
  hello.tag = wire::make_tag(cluster, wire::bytes_of(stream.greeting), wire::before_tag(hello));
  co_await asio::async_write(stream.socket, asio::buffer(&hello, sizeof hello), use_awaitable);
  auto link = std::make_shared<Link>(std::move(stream.socket), address + ":" + std::to_string(port));
  link->derive(cluster, stream.greeting, hello, true);
  try {
    wire::Deadline deadline(link->socket_, limit);
    co_await link->exchange_stream_headers();
  } catch (const std::exception&) {
    throw std::runtime_error(link->name_ + ": refused this conversation (another cluster's key?)");
  }
  co_return link;
}

awaitable<Link::Ptr> Link::accepted(tcp::socket socket, wire::Greeting greeting, wire::LinkHello hello, wire::Key cluster) {
  std::string name = endpoint_name(socket);
  auto link = std::make_shared<Link>(std::move(socket), name);
  link->derive(cluster, greeting, hello, false);
  wire::Deadline deadline(link->socket_, kAcceptLimit);
  co_await link->exchange_stream_headers();
  co_return link;
}

void Link::derive(const wire::Key& cluster, const wire::Greeting& greeting, const wire::LinkHello& hello, bool opener) {
  wire::Tag base = wire::make_tag(cluster, wire::bytes_of(greeting), wire::bytes_of(hello.nonce));
  wire::Key session;
  std::memcpy(session.data(), base.data(), session.size());
  wire::Key forward = wire::derive_key(session, "link opener to acceptor");
  wire::Key backward = wire::derive_key(session, "link acceptor to opener");
  tx_key_ = opener ? forward : backward;
  rx_key_ = opener ? backward : forward;
}

awaitable<void> Link::exchange_stream_headers() {
  wire::FrameStart mine = tx_.begin(tx_key_), theirs;
  co_await asio::async_write(socket_, asio::buffer(mine), use_awaitable);
  co_await asio::async_read(socket_, asio::buffer(theirs), use_awaitable);
  rx_.begin(rx_key_, theirs);
}

void Link::start(OnRequest on_request, OnNotice on_notice, OnClosed on_closed) {
  on_request_ = std::move(on_request);
  on_notice_ = std::move(on_notice);
  on_closed_ = std::move(on_closed);
  auto self = shared_from_this();
  spawn(executor(), [self]() -> awaitable<void> {
    try {
      co_await self->read_loop();
    } catch (const wire::Stranger& stranger) {
      if (self->on_stranger_) self->on_stranger_(stranger.reason());
    } catch (const std::exception&) {
    }
    self->close();
  });
}

awaitable<proto::Envelope> Link::read_frame() {
  uint32_t length = 0;
  co_await asio::async_read(socket_, asio::buffer(&length, sizeof length), use_awaitable);
  std::string sealed(wire::FrameOpener::check_length(length), '\0');
  co_await asio::async_read(socket_, asio::buffer(sealed), use_awaitable);
  co_return rx_.open(sealed);
}

awaitable<void> Link::read_loop() {
  auto self = shared_from_this();
  while (open_) {
    proto::Envelope envelope = co_await read_frame();
    dispatch(std::move(envelope));
  }
}

void Link::dispatch(proto::Envelope envelope) {
  if (envelope.reply()) {
    auto it = pending_.find(envelope.id());
    if (it == pending_.end()) return;  // its caller has given up
    auto pending = it->second;
    pending_.erase(it);
    pending->reply = std::move(envelope);
    pending->done = true;
    pending->event.notify();
    return;
  }
  auto self = shared_from_this();
  if (envelope.id() == 0) {
    if (on_notice_) on_notice_(self, envelope);
    return;
  }
  auto request = std::make_shared<proto::Envelope>(std::move(envelope));
  spawn(executor(), [self, request]() -> awaitable<void> {
    proto::Envelope reply;
    uint64_t id = request->id();
    try {
      if (!self->on_request_) throw std::runtime_error("this end takes no requests");
      co_await self->on_request_(self, std::move(*request), reply);
    } catch (const std::exception& error) {
      reply.Clear();
      reply.set_error(error.what());
    }
    reply.set_id(id);
    reply.set_reply(true);
    self->send(reply);
  });
}

awaitable<proto::Envelope> Link::call(proto::Envelope request, Millis limit) {
  auto self = shared_from_this();
  if (!open_) throw std::runtime_error(name_ + ": connection closed");
  uint64_t id = next_id_++;
  request.set_id(id);
  auto pending = std::make_shared<Pending>(executor());
  pending_[id] = pending;
  send(request);
  bool in_time = co_await wait_until(pending->event, limit, [&] { return pending->done || !open_; });
  pending_.erase(id);
  if (!pending->done)
    throw std::runtime_error(name_ + (in_time ? ": connection closed before the answer" : ": no answer in time"));
  if (!pending->reply.error().empty()) throw std::runtime_error(pending->reply.error());
  co_return std::move(pending->reply);
}

void Link::notify(proto::Envelope notice) {
  notice.set_id(0);
  send(notice);
}

void Link::send(const proto::Envelope& envelope) {
  if (!open_) return;
  std::string frame = tx_.seal(envelope);
  queued_bytes_ += frame.size();
  queue_.push_back(std::move(frame));
  if (writing_) return;
  writing_ = true;
  auto self = shared_from_this();
  spawn(executor(), [self]() -> awaitable<void> {
    try {
      co_await self->write_loop();
    } catch (const std::exception&) {
      self->close();
    }
  });
}

awaitable<void> Link::write_loop() {
  auto self = shared_from_this();
  while (!queue_.empty() && open_) {
    std::string frame = std::move(queue_.front());
    queue_.pop_front();
    co_await asio::async_write(socket_, asio::buffer(frame), use_awaitable);
    queued_bytes_ -= frame.size();
  }
  writing_ = false;
}

void Link::close() {
  if (!open_) return;
  open_ = false;
  boost::system::error_code ignored;
  socket_.close(ignored);
  for (auto& [id, pending] : pending_) pending->event.notify();
  // The handlers often own this link: let them go once the loops have ended.
  auto self = shared_from_this();
  asio::post(executor(), [self] {
    if (self->on_closed_) self->on_closed_(self);
    self->on_request_ = nullptr;
    self->on_notice_ = nullptr;
    self->on_closed_ = nullptr;
    self->on_stranger_ = nullptr;
  });
}

}  // namespace msocket
