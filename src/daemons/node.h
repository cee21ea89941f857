// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What the parts of one msdaemon share: its ranks, where those went that have left, its view of the cluster.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "src/daemons/directory.h"
#include "src/daemons/placement.h"
#include "src/daemons/port_server.h"
#include "src/daemons/rank.h"
#include "src/wire/config.h"

namespace msocket::daemons {

struct SpawnSpec;
class Connector;
class Redirector;
class Mover;
class Arrivals;
class Datagrams;
class Standby;

class Node {
 public:
  Node(asio::io_context& io, const Config& config, const std::string& listen_address);
  ~Node();
  void start();
  uint16_t port() const { return server_->port(); }
  Redirector& redirector() { return *redirector_; }
  Datagrams& datagrams() { return *datagrams_; }
  Standby& standby() { return *standby_; }

  // ---- for the parts ----
  asio::io_context& io;
  const Config config;
  Placement placement;
  Directory directory;
  std::map<uint32_t, Rank::Ptr> ranks;   ///< by virtual address; those that have left or ended are not in it
  std::map<uint32_t, Place> departed;    ///< where they went, for peers that still ask here

  const std::string& name() const { return config.node.name; }
  proto::NodeInfo describe() const;
  Rank::Ptr find(uint32_t vip) const;
  Rank::Ptr find(const std::string& job, uint32_t rank) const;
  /// Throws when this node takes no more ranks.
  void check_room() const;
  /// Makes the rank's streams and channel and starts its program. Throws one line for a person, also when the rank was dropped meanwhile.
  awaitable<void> launch(Rank::Ptr rank);
  /// Starts a child that is not a rank; `on_exit` gets its wait status.
  void watch(pid_t pid, std::function<void(int)> on_exit) { children_[pid] = std::move(on_exit); }
  /// Starts the pumps between the rank and its home.
  void start_streams(const Rank::Ptr& rank);
  /// Takes the rank off this node's books and frees what it held here.
  void drop(const Rank::Ptr& rank);
  void kill(const Rank::Ptr& rank, int signo);
  /// The rank's process has ended for good: tells its home and forgets it.
  void ended(const Rank::Ptr& rank);
  /// Waits until the rank is neither arriving nor moving. False: the limit has passed.
  awaitable<bool> wait_settled_place(Rank::Ptr rank, Millis limit);
  /// Somebody who knows a key has asked for what he must not have: counts it and says so.
  void refused(wire::Reason reason, const std::string& from) { server_->refused(reason, from); }

  /// After a kStandby on our port: what is said next on it; nothing: it is closed, or a stranger's.
  awaitable<std::optional<wire::Caller>> greeted_again(tcp::socket& socket, const wire::Caller& before) {
    return server_->greeted_again(socket, before);
  }

  /// A rank whose home does not come back ends.
  awaitable<void> wait_for_home(Rank::Ptr rank);

 private:
  awaitable<void> serve(Link::Ptr link, proto::Envelope request, proto::Envelope& reply);
  void on_notice(Link::Ptr link, const proto::Envelope& notice);
  void on_link_closed(Link::Ptr link);
  awaitable<void> on_data(tcp::socket socket, wire::Caller caller);
  awaitable<void> start_rank(Link::Ptr home, proto::StartRank request, proto::StartRank* reply);
  awaitable<void> start_process(Rank::Ptr rank, SpawnSpec& spec);
  void attach(const Link::Ptr& home, const proto::Attach& request);
  void on_record(const Rank::Ptr& rank, const ProcessChannel::Ptr& from, const wire::ControlRecord& record,
                 std::vector<ScopedFd> fds);
  /// The rank's program is about to fork.
  void add_child(const Rank::Ptr& rank, const ProcessChannel::Ptr& parent, ScopedFd fd);
  void on_hello(const Rank::Ptr& rank, const wire::ControlRecord& hello);
  void on_exit(const Rank::Ptr& rank, int wait_status);
  awaitable<void> reap_loop();
  void reap();
  awaitable<void> sample_loop();

  std::shared_ptr<PortServer> server_;
  asio::signal_set child_signal_;
  std::map<pid_t, std::function<void(int)>> children_;
  std::unique_ptr<Connector> connector_;
  std::unique_ptr<Redirector> redirector_;
  std::unique_ptr<Mover> mover_;
  std::unique_ptr<Arrivals> arrivals_;
  std::unique_ptr<Datagrams> datagrams_;
  std::unique_ptr<Standby> standby_;
};

}  // namespace msocket::daemons
