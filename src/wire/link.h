// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A conversation between two of: master, daemon, mpiexec, msctl. Both know the cluster key; every frame is sealed
// (libsodium secretstream), so that nothing can be read, altered, replayed or reordered on the way.
//
//   auto link = co_await Link::connect(executor, "10.0.0.1", 7711, cluster_key);
//   link->start(on_request, on_notice, on_closed);
//   proto::Envelope request;  request.mutable_list_nodes();
//   proto::Envelope reply = co_await link->call(request);      // throws std::runtime_error with one line for a person
//
// Not thread-safe: use it on its executor only.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "src/wire/async.h"
#include "src/wire/auth.h"
#include "src/wire/conn_header.h"
#include "src/wire/frame.h"
#include "src/wire/msocket.pb.h"

namespace msocket {

class Link : public std::enable_shared_from_this<Link> {
 public:
  using Ptr = std::shared_ptr<Link>;
  /// Fills `reply`'s body; an exception becomes the reply's error.
  using OnRequest = std::function<awaitable<void>(Ptr, proto::Envelope request, proto::Envelope& reply)>;
  /// Called in the order in which the notices were sent.
  using OnNotice = std::function<void(Ptr, const proto::Envelope&)>;
  using OnClosed = std::function<void(Ptr)>;
  using OnStranger = std::function<void(wire::Reason)>;

  /// Throws std::runtime_error: "a.b.c.d:port: why".
  static awaitable<Ptr> connect(asio::any_io_executor executor, std::string address, uint16_t port, wire::Key cluster,
                                Millis limit = Millis(5000));
  /// The acceptor's side, after src/wire/port.h has read and checked the opener's hello.
  static awaitable<Ptr> accepted(tcp::socket socket, wire::Greeting greeting, wire::LinkHello hello, wire::Key cluster);

  Link(tcp::socket socket, std::string name);

  /// Before start(): hears why, when what comes over this link is no frame of ours; the link is closed then.
  void on_stranger(OnStranger handler) { on_stranger_ = std::move(handler); }
  /// Begins to read. Without on_request every request is refused.
  void start(OnRequest on_request, OnNotice on_notice, OnClosed on_closed);
  /// Sends a request and waits for its reply; throws std::runtime_error on an error reply, a closed link or the limit.
  awaitable<proto::Envelope> call(proto::Envelope request, Millis limit = Millis(10000));
  void notify(proto::Envelope notice);
  void close();

  bool open() const { return open_; }
  const std::string& name() const { return name_; }  ///< "address:port" of the other end
  size_t queued_bytes() const { return queued_bytes_; }
  asio::any_io_executor executor() { return socket_.get_executor(); }

 private:
  struct Pending {
    explicit Pending(asio::any_io_executor executor) : event(executor) {}
    Event event;
    bool done = false;
    proto::Envelope reply;
  };

  void derive(const wire::Key& cluster, const wire::Greeting& greeting, const wire::LinkHello& hello, bool opener);
  awaitable<void> exchange_stream_headers();
  awaitable<void> read_loop();
  awaitable<void> write_loop();
  awaitable<proto::Envelope> read_frame();
  void send(const proto::Envelope& envelope);
  void dispatch(proto::Envelope envelope);

  tcp::socket socket_;
  std::string name_;
  bool open_ = true;
  bool writing_ = false;
  size_t queued_bytes_ = 0;
  uint64_t next_id_ = 1;
  wire::Key tx_key_{}, rx_key_{};
  wire::FrameSealer tx_;
  wire::FrameOpener rx_;
  std::deque<std::string> queue_;
  std::map<uint64_t, std::shared_ptr<Pending>> pending_;
  OnRequest on_request_;
  OnNotice on_notice_;
  OnClosed on_closed_;
  OnStranger on_stranger_;
};

}  // namespace msocket
