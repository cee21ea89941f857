// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Connections that stand by (paper 5.5; doc/redirection.md): while a rank still runs on its old node, the daemon of its new one and
// those of its peers open a connection for each that it has. Greeted and authenticated it waits between the two daemons, and
// behind the commit only the header that makes it a program's has to cross. No process knows of it: when a move is called off
// there is nothing to undo but to close it. One that is missing or lost costs time only: a new one is opened.
//
// Who opens is the daemon of the end that opened the connection first, as in redirector.h. A side that accepts keeps what it has
// answered with kOk until the move is over or off, so that nothing is ever said into a connection that the other side has dropped.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "src/daemons/rank.h"
#include "src/wire/port.h"

namespace msocket::daemons {

class Node;

class Standby {
 public:
  /// So many for one move and between two processes; the others are opened behind the commit. Each is a descriptor at both daemons.
  static constexpr uint32_t kMost = 512;

  explicit Standby(Node& node) : node_(node) {}

  /// The rank is arriving: opens what its process has opened to these peers, and asks their daemons for the rest. Not to be waited for.
  void prepare(const Rank::Ptr& rank, const google::protobuf::RepeatedPtrField<proto::PeerConnections>& peers);
  /// That has come to its end. Returns how many stand by.
  awaitable<uint32_t> wait_prepared(uint32_t vip, Generation generation);
  /// The other end of connections of ours is about to move; its new node's daemon asks for some towards it.
  awaitable<void> serve(proto::Standby request, proto::Standby* reply);
  /// One (kStandby) has come to our port: it waits here. Returns what its opener says when it is made use of; nothing: it has closed it.
  awaitable<std::optional<wire::Caller>> park(tcp::socket& socket, const wire::Caller& caller);

  /// A port to say kRedirect on: one that stands by, or a new one. The process that has moved here is `moved`, as of its generation.
  awaitable<wire::PortStream> port(uint32_t from, uint32_t to, uint32_t moved, Generation generation, std::string address,
                                   uint16_t port);
  /// The move is over, or off: none of those for it is needed any more.
  void drop(uint32_t moved, Generation generation);

 private:
  using Move = std::pair<uint32_t, Generation>;              ///< who moves, as what
  using Key = std::tuple<Move, uint32_t, uint32_t>;          ///< and the end that opens, the end that is opened to
  struct Parked {
    wire::PortStream stream;
    std::string address;
    uint16_t port;
  };
  using ParkedPtr = std::shared_ptr<Parked>;
  struct Preparing {
    explicit Preparing(asio::any_io_executor executor) : changed(executor) {}
    int running = 0;
    uint32_t ready = 0;
    bool dropped = false;
    Event changed;
  };
  using PreparingPtr = std::shared_ptr<Preparing>;

  struct Pair {
    uint32_t from, to;
    Generation from_gen, to_gen;
    bool from_moves;
    std::string job, address;
    uint16_t port;
    Move move() const { return from_moves ? Move{from, from_gen} : Move{to, to_gen}; }
  };
  awaitable<void> prepare_peer(Rank::Ptr rank, proto::PeerConnections peer, PreparingPtr state);
  /// Opens so many; returns how many stand by.
  awaitable<uint32_t> open(Pair pair, uint32_t count);
  awaitable<void> open_one(Pair pair);
  awaitable<void> watch(Key key, ParkedPtr parked);

  Node& node_;
  std::map<Move, PreparingPtr> preparing_;
  std::map<Key, std::vector<ParkedPtr>> opened_;
  std::map<Move, std::set<tcp::socket*>> accepted_;
};

}  // namespace msocket::daemons
