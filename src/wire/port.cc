// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/port.h"

#include <sys/socket.h>

#include <cstring>
#include <stdexcept>

namespace msocket::wire {

Deadline::Deadline(tcp::socket& socket, Millis limit) : state_(std::make_shared<State>(socket.get_executor())) {
  state_->timer.expires_after(limit);
  state_->timer.async_wait([state = state_, &socket](boost::system::error_code) {
    if (state->over) return;
    state->expired = true;
    boost::system::error_code ignored;
    socket.close(ignored);
  });
}

Deadline::~Deadline() {
  state_->over = true;
  state_->timer.cancel();
}

awaitable<PortStream> open_port(asio::any_io_executor executor, std::string address, uint16_t port, Millis limit) {
  PortStream stream{tcp::socket(executor), {}};
  std::string name = address + ":" + std::to_string(port);
  std::string why;
  Deadline deadline(stream.socket, limit);
  try {
    tcp::endpoint endpoint(asio::ip::make_address(address), port);
    co_await stream.socket.async_connect(endpoint, use_awaitable);
    stream.socket.set_option(tcp::no_delay(true));
    co_await asio::async_read(stream.socket, asio::buffer(&stream.greeting, sizeof stream.greeting), use_awaitable);
    if (const char* no = why_not_greeting(stream.greeting)) why = no;
  } catch (const boost::system::system_error& error) {
    why = deadline.expired() ? "no answer in time" : error.code().message();
  }
  if (!why.empty()) throw std::runtime_error(name + ": " + why);
  co_return stream;
}

awaitable<DataStream> introduce(PortStream stream, ConnHeader header, Key job, Millis limit) {
  header.tag = make_tag(job, bytes_of(stream.greeting), before_tag(header));
  DataStream data{std::move(stream.socket), stream.greeting, {}};
  boost::system::error_code gone;
  auto other = data.socket.remote_endpoint(gone);
  Deadline deadline(data.socket, limit);
  std::string why;
  try {
    co_await asio::async_write(data.socket, asio::buffer(&header, sizeof header), use_awaitable);
    co_await asio::async_read(data.socket, asio::buffer(&data.answer, sizeof data.answer), use_awaitable);
    if (!good_answer(job, data.greeting, header, data.answer)) why = "the answer does not authenticate";
  } catch (const boost::system::system_error& error) {
    why = deadline.expired() ? "no answer in time" : "refused this connection (another job's key?)";
  }
  if (!why.empty()) throw std::runtime_error(other.address().to_string() + ":" + std::to_string(other.port()) + ": " + why);
  co_return data;
}

awaitable<DataStream> open_data(asio::any_io_executor executor, std::string address, uint16_t port, ConnHeader header,
                                Key job, Millis limit) {
  PortStream stream = co_await open_port(executor, address, port, limit);
  co_return co_await introduce(std::move(stream), header, job, limit);
}

namespace {

awaitable<Caller> read_opening(tcp::socket& socket, const Greeting& greeting, const Key& cluster, Millis limit, SeenTags* seen) {
  std::array<uint8_t, sizeof(ConnHeader)> bytes;  // the longest opening there is
  size_t have = 0, wanted = sizeof(Preamble);
  Deadline deadline(socket, limit);
  boost::system::error_code error;
  while (!error && have < wanted) {
    auto room = asio::buffer(bytes.data() + have, wanted - have);
    size_t got = co_await socket.async_read_some(room, asio::redirect_error(use_awaitable, error));
    have += got;
    if (have != sizeof(Preamble) || wanted != sizeof(Preamble)) continue;
    Preamble preamble;
    std::memcpy(&preamble, bytes.data(), sizeof preamble);
    wanted = opening_length(preamble);
  }
  // Closed by the deadline just as the last byte came: not to be handed on, whoever it was.
  if (have < wanted || !socket.is_open())
    throw Stranger(deadline.expired() ? Reason::kSlow : have ? Reason::kCut : Reason::kScan);
  co_return check_opening(greeting, cluster, std::span<const uint8_t>(bytes.data(), have), seen);
}

}  // namespace

awaitable<Caller> greet(tcp::socket& socket, Key cluster, Millis limit, SeenTags* seen) {
  Greeting greeting;
  greeting.nonce = random_nonce();
  boost::system::error_code error;
  socket.set_option(tcp::no_delay(true), error);
  // On a fresh connection this cannot block.
  (void)!::send(socket.native_handle(), &greeting, sizeof greeting, MSG_NOSIGNAL);
  co_return co_await read_opening(socket, greeting, cluster, limit, seen);
}

awaitable<std::optional<Caller>> greeted_again(tcp::socket& socket, const Caller& before, Key cluster, Millis limit, SeenTags* seen) {
  boost::system::error_code error;
  co_await socket.async_wait(tcp::socket::wait_read, asio::redirect_error(use_awaitable, error));
  char first;
  if (error || !socket.is_open() || recv(socket.native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) co_return std::nullopt;
  Caller now = co_await read_opening(socket, before.greeting, cluster, limit, seen);
  if (!continues(before, now)) throw Stranger(Reason::kPurpose);
  co_return now;
}

awaitable<void> answer(tcp::socket& socket, const Caller& caller, Key cluster, Verdict verdict, Generation gen) {
  Answer reply;
  reply.verdict = verdict;
  reply.gen = gen;
  reply.tag = make_tag(job_key(cluster, caller.data->job), bytes_of(caller.greeting), bytes_of(*caller.data),
                       before_tag(reply));
  co_await asio::async_write(socket, asio::buffer(&reply, sizeof reply), use_awaitable);
}

}  // namespace msocket::wire
