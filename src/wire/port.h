// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The first round trip on a daemon's (or master's) port, both sides (src/wire/conn_header.h). Strangers end here: nobody
// above sees a byte of a connection whose tag does not hold.
#pragma once
#include <optional>
#include <string>

#include "src/wire/async.h"
#include "src/wire/auth.h"
#include "src/wire/conn_header.h"
#include "src/wire/first_bytes.h"

namespace msocket::wire {

/// Closes the socket when the limit passes before the Deadline is destroyed; whoever waits on it gets an error.
class Deadline {
 public:
  Deadline(tcp::socket& socket, Millis limit);
  ~Deadline();
  bool expired() const { return state_->expired; }

 private:
  struct State {
    explicit State(asio::any_io_executor executor) : timer(executor) {}
    asio::steady_timer timer;
    bool over = false, expired = false;
  };
  std::shared_ptr<State> state_;
};

/// A connection to a port whose greeting has been read.
struct PortStream {
  tcp::socket socket;
  Greeting greeting;
};

/// Connects and reads the greeting. Throws std::runtime_error "address:port: why".
awaitable<PortStream> open_port(asio::any_io_executor executor, std::string address, uint16_t port, Millis limit);

struct DataStream {
  tcp::socket socket;
  Greeting greeting;
  Answer answer;
};

/// On an open port: fills in the header's tag, sends it, reads and checks the answer.
/// Throws std::runtime_error when the other end does not answer, or does not know the job's key.
awaitable<DataStream> introduce(PortStream stream, ConnHeader header, Key job, Millis limit);

/// open_port() and introduce().
awaitable<DataStream> open_data(asio::any_io_executor executor, std::string address, uint16_t port, ConnHeader header,
                                Key job, Millis limit);

/// Greets an accepted connection and checks who it is. Throws Stranger: count it and forget it.
awaitable<Caller> greet(tcp::socket& socket, Key cluster, Millis limit, SeenTags* seen = nullptr);

/// After a kStandby: what the same opener says next, whenever that is. Throws Stranger when that is not a kRedirect between the same two
/// processes; nullopt: it has been closed without a word.
awaitable<std::optional<Caller>> greeted_again(tcp::socket& socket, const Caller& before, Key cluster, Millis limit,
                                               SeenTags* seen = nullptr);

/// The acceptor's last word on a data connection.
awaitable<void> answer(tcp::socket& socket, const Caller& caller, Key cluster, Verdict verdict, Generation gen);

}  // namespace msocket::wire
