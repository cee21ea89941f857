// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The daemons, step by step as src/daemons/node.cc, connector.cc, redirector.cc, mover.cc and arrivals.cc: a co_await there is a wait of a
// fiber here. Left out: keys, links that break, nodes that fail.
#pragma once
#include <optional>

#include "src/wire/conn_header.h"
#include "src/wire/control.h"
#include "tests/sim/process.h"

namespace msocket::sim {

enum class RankState { kArriving, kRunning, kMoving, kGone };

struct Rank {
  Process* process = nullptr;
  uint32_t vip = 0;
  Generation generation = 0, next_generation = 0;
  RankState state = RankState::kRunning;
  bool busy = false, settling = false, exited = false;
  PacketsPtr channel;
  std::map<uint16_t, PacketsPtr> listeners;
  int connecting = 0;
  std::map<uint64_t, wire::ControlRecord> installed;  ///< answers, by their number
  uint64_t installs = 0;
  std::optional<wire::ControlRecord> frozen, restored;
  std::vector<wire::ControlRecord> reconnects;
  bool here() const { return state == RankState::kRunning || state == RankState::kMoving; }
  bool send(const wire::ControlRecord& record, std::vector<FilePtr> files = {});
};
using RankPtr = std::shared_ptr<Rank>;

class Node;
struct Place {
  Node* node = nullptr;
  Generation generation = 0;
};

class Node {
 public:
  explicit Node(std::string n) : name(std::move(n)) {}
  const std::string name;
  std::map<uint32_t, RankPtr> ranks;

  /// Starts to read the channel of a rank.
  void listen_to(const RankPtr& rank);
  RankPtr find(uint32_t vip) const;
  void drop(const RankPtr& rank);
  /// The whole of a move of a rank that is here. Returns when the mirror has ended, or the move is called off.
  void move(RankPtr rank, Node* to);

 private:
  struct Awaited {
    RankPtr rank;
    wire::ControlRecord record;
    std::vector<StreamPtr> undecided;  ///< the peer may have the other end
    bool done = false;
  };
  using AwaitedPtr = std::shared_ptr<Awaited>;
  struct Move;
  enum class Redirect { kMoved, kInstalled, kGone, kBothMoved };

  // node.cc, connector.cc, redirector.cc
  void on_record(const RankPtr& rank, const wire::ControlRecord& record, std::vector<FilePtr> files);
  std::optional<Place> place_of(uint32_t vip);
  void wait_settled_place(const RankPtr& rank, Time limit);
  void run_connect(RankPtr rank, wire::ControlRecord request);
  StreamPtr open_socket(Place place, const wire::ConnHeader& header);
  std::pair<StreamPtr, wire::Answer> open_data(Place place, const wire::ConnHeader& header, Time limit);
  void accept(StreamPtr socket, const wire::ConnHeader& header);
  void accept_open(StreamPtr socket, const wire::ConnHeader& header, RankPtr rank);
  void accept_redirect(StreamPtr socket, const wire::ConnHeader& header, RankPtr rank);
  int install(RankPtr rank, wire::ControlRecord about, StreamPtr socket);
  void reconnect_all(const RankPtr& rank);
  std::optional<wire::Answer> decision(AwaitedPtr awaited, StreamPtr socket);
  void watch(AwaitedPtr awaited, StreamPtr socket);
  bool may_go_on(const AwaitedPtr& awaited);
  void hand_over_undecided(const RankPtr& rank, const PacketsPtr& mailbox);
  void leave(const RankPtr& rank);
  void finish(AwaitedPtr awaited, StreamPtr socket, Generation peer_gen, int error = 0);
  void run_reopen(AwaitedPtr awaited);
  void run_request(AwaitedPtr awaited);
  Redirect serve_redirect(const wire::ControlRecord& request, Place acceptor);
  // mover.cc
  bool prepare(Move& move);
  bool freeze(Move& move);
  bool hand_over(Move& move);
  void commit(Move& move);
  void drain(Move& move);
  void call_off(Move& move);
  /// The destination's part of the commit.
  void arrive(const RankPtr& rank);

  std::map<uint32_t, Place> departed_, known_;
  std::map<std::pair<ConnId, Endpoint>, AwaitedPtr> awaited_;
};

/// The master's table.
extern std::map<uint32_t, Place> master;

struct Counts {
  int moves = 0, called_off = 0, refused = 0, mirrors_killed = 0, both_moved = 0, undecided = 0, chained = 0;
};
extern Counts counts;

}  // namespace msocket::sim
