// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/port.h"

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
    if (stream.greeting.magic != kPortMagic) why = "not an msocket port";
    else if (stream.greeting.version != kPortVersion) why = "another version of msocket";
  } catch (const boost::system::system_error& error) {
    why = deadline.expired() ? "no answer in time" : error.code().message();
  }
  if (!why.empty()) throw std::runtime_error(name + ": " + why);
  co_return stream;
}

awaitable<DataStream> open_data(asio::any_io_executor executor, std::string address, uint16_t port, ConnHeader header,
                                Key job, Millis limit) {
  PortStream stream = co_await open_port(executor, address, port, limit);
  header.tag = make_tag(job, bytes_of(stream.greeting), before_tag(header));
  DataStream data{std::move(stream.socket), {}};
  Deadline deadline(data.socket, limit);
  std::string why;
  try {
    co_await asio::async_write(data.socket, asio::buffer(&header, sizeof header), use_awaitable);
    co_await asio::async_read(data.socket, asio::buffer(&data.answer, sizeof data.answer), use_awaitable);
    Tag expected = make_tag(job, bytes_of(stream.greeting), bytes_of(header), before_tag(data.answer));
    if (data.answer.magic != kPortMagic || !same_tag(expected, data.answer.tag)) why = "the answer does not authenticate";
  } catch (const boost::system::system_error& error) {
    why = deadline.expired() ? "no answer in time" : "refused this connection (another job's key?)";
  }
  if (!why.empty()) throw std::runtime_error(address + ":" + std::to_string(port) + ": " + why);
  co_return data;
}

namespace {
template <class T>
awaitable<void> read_rest(tcp::socket& socket, const Preamble& preamble, T& object) {
  object.preamble = preamble;
  auto rest = asio::buffer(reinterpret_cast<char*>(&object) + sizeof preamble, sizeof object - sizeof preamble);
  co_await asio::async_read(socket, rest, use_awaitable);
}
}  // namespace

awaitable<Caller> greet(tcp::socket& socket, Key cluster, Millis limit) {
  Caller caller;
  caller.greeting.nonce = random_nonce();
  Deadline deadline(socket, limit);
  socket.set_option(tcp::no_delay(true));
  co_await asio::async_write(socket, asio::buffer(&caller.greeting, sizeof caller.greeting), use_awaitable);
  Preamble preamble;
  co_await asio::async_read(socket, asio::buffer(&preamble, sizeof preamble), use_awaitable);
  if (preamble.magic != kPortMagic || preamble.version != kPortVersion) throw std::runtime_error("not msocket");
  bool known = false;
  if (preamble.purpose == Purpose::kLink) {
    LinkHello hello;
    co_await read_rest(socket, preamble, hello);
    known = same_tag(make_tag(cluster, bytes_of(caller.greeting), before_tag(hello)), hello.tag);
    caller.link = hello;
  } else if (preamble.purpose >= Purpose::kOpen && preamble.purpose <= Purpose::kMirror) {
    ConnHeader header;
    co_await read_rest(socket, preamble, header);
    header.job[sizeof header.job - 1] = '\0';
    known = same_tag(make_tag(job_key(cluster, header.job), bytes_of(caller.greeting), before_tag(header)), header.tag);
    caller.data = header;
  }
  if (!known) throw std::runtime_error("a stranger");
  co_return caller;
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
