// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Connections made anew after a move of either end or both (paper 5.5; doc/redirection.md).
//
// A connection is always opened by the daemon of the end that opened it first (the connector), whoever has moved, so two
// daemons never cross each other. The end that has not moved gets the new socket first: when the one that has moved gets its
// own, it may tell its mirror that the peer has switched. The process that has not moved writes an answer on the new socket
// when it has switched; until that is there the socket is undecided, and if its rank moves on, its mirror waits for it.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "src/daemons/rank.h"
#include "src/wire/port.h"

namespace msocket::daemons {

class Node;

class Redirector {
 public:
  explicit Redirector(Node& node) : node_(node) {}
  /// After a move here, in the step in which the rank begins to run: every connection in rank->reconnects is awaited from now on. A
  /// peer's daemon that found it not awaited would take it for one that has its socket.
  void expect_all(const Rank::Ptr& rank);
  /// Makes those anew that are still awaited. Once for each move; what has come by itself meanwhile is good.
  void reconnect_all(const Rank::Ptr& rank);
  /// A data connection (kRedirect) has come to our port, for a rank that is here.
  awaitable<void> accept(tcp::socket socket, const wire::Caller& caller, Rank::Ptr rank);
  /// The peer that says this has moved since, as we know.
  bool knows_newer(const wire::ConnHeader& header) const;
  /// The acceptor's end of a connection has moved and its daemon asks us to open it anew.
  awaitable<void> serve_redirect(proto::Redirect request, proto::Redirect* reply);
  /// The rank stands still: what is undecided of its connections goes to its mirror (which touches it after the commit only).
  void hand_over(const Rank::Ptr& rank, int mailbox);
  /// It has moved: its connections are made anew from elsewhere.
  void leave(const Rank::Ptr& rank);

 private:
  using SocketPtr = std::shared_ptr<tcp::socket>;
  /// A connection of a process that has moved here, whose new socket is not there yet.
  struct Awaited {
    explicit Awaited(asio::any_io_executor executor) : changed(executor) {}
    Rank::Ptr rank;
    wire::ControlRecord record;
    /// Opened by us or towards us, and undecided: the peer may have its end. More than one if a daemon asked again.
    std::vector<SocketPtr> undecided;
    bool done = false;
    Event changed;
  };
  using AwaitedPtr = std::shared_ptr<Awaited>;
  /// Of one attempt to make a connection anew.
  enum class Outcome {
    kEnded,      ///< nothing is left to do: it is there, or the rank is not
    kNotSaid,    ///< the rank stands still: nothing was said to the peer
    kMoved,      ///< look for the peer again
    kBothMoved,  ///< the peer's daemon does what we ask for by itself
    kRefused,
    kGone,  ///< the peer has no such connection
  };

  /// Until it is done, or the peer is gone.
  awaitable<void> run(AwaitedPtr awaited);
  /// The connector's end has moved here: opens towards the acceptor.
  awaitable<Outcome> reopen(AwaitedPtr awaited);
  /// The acceptor's end has moved here: asks the connector's daemon.
  awaitable<Outcome> request(AwaitedPtr awaited);
  /// Waits for the first word on an undecided socket, and takes it when the rank does not stand still. Nothing: the end came
  /// instead, or the rank has left.
  awaitable<std::optional<wire::Answer>> decision(AwaitedPtr awaited, SocketPtr socket);
  /// Waits for the decision on a socket that the connector's daemon has opened towards us.
  awaitable<void> watch(AwaitedPtr awaited, SocketPtr socket);
  static awaitable<bool> may_go_on(AwaitedPtr awaited);
  /// fd < 0: no connection comes any more; `error` why, 0: the peer has closed it.
  awaitable<void> finish(AwaitedPtr awaited, int fd, Generation peer_gen, int error = 0);

  Node& node_;
  /// By connection and end: both may be on this node, and even in one process.
  using Key = std::pair<ConnId, Endpoint>;
  std::map<Key, AwaitedPtr> awaited_;
};

}  // namespace msocket::daemons
