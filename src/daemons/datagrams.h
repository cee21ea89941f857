// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "src/daemons/directory.h"
#include "src/daemons/rank.h"

namespace msocket::daemons {

class Node;

/// UDP (doc/datagrams.md): which real address and port stand behind a virtual one, for this node's processes (the cache of
/// paper 6.2), and what happens to datagrams that still come here for a process that has left. Beside TCP's places: a UDP
/// port and a TCP port of one number have nothing to do with each other.
class Datagrams {
 public:
  explicit Datagrams(Node& node) : node_(node) {}
  /// The key of the job's datagrams and this node's address, into a kStart record.
  void fill_start(const Rank& rank, wire::ControlRecord* start) const;
  /// kUdpBind, kUdpUnbind, kUdpLookup.
  void on_record(const Rank::Ptr& rank, const wire::ControlRecord& record, std::vector<ScopedFd> fds);
  /// Another daemon asks; from then on it hears when the answer changes.
  void serve_lookup(const proto::UdpLookup& request, proto::UdpLookup* reply);
  /// What another daemon has told us has changed. Returns when our processes know, and the new place knows us.
  awaitable<void> serve_moved(proto::UdpMoved notice);

  /// The ports of a process that has just been filled, for the old node.
  void list_ports(const Rank& rank, proto::Handover* reply) const;
  /// At the commit, on the old node: passes on what still comes, to `ports` on the new one, until everybody who might send
  /// has heard of it.
  void moved_away(const Rank::Ptr& rank, const Place& to, const proto::Handover& ports);
  /// Returns when nothing of that is left here.
  awaitable<void> wait_forwarded(uint32_t vip);
  /// The rank's process has ended for good: who has asked for its ports hears that they are closed.
  void ended(const Rank& rank);
  /// The rank is not here any more.
  void dropped(const Rank& rank);

 private:
  using Port = std::pair<uint32_t, uint16_t>;        // virtual
  using Asker = std::pair<std::string, uint16_t>;    // a daemon's address and port
  struct Entry {
    explicit Entry(asio::any_io_executor executor) : changed(executor) {}
    Endpoint real;
    Generation generation = 0;
    int error = 0;
    Clock::time_point when{};       ///< of the answer; none yet: the epoch
    unsigned version = 0;           ///< changes with every answer and notice
    bool asking = false;
    std::string job;
    std::set<uint32_t> askers;      ///< processes of ours, by virtual address
    Event changed;
  };
  using EntryPtr = std::shared_ptr<Entry>;
  struct Forwarding;

  awaitable<void> answer(Rank::Ptr rank, Endpoint to);
  awaitable<void> resolve(Port port, EntryPtr entry);
  void tell(const Port& port, const EntryPtr& entry);
  EntryPtr entry_of(const Port& port, const std::string& job);
  void changed(const Rank& rank, uint16_t port);
  proto::UdpMoved notice_of(const Rank& rank, const Place& place) const;
  awaitable<void> tell_asker(Asker asker, proto::UdpMoved notice);
  awaitable<void> forward(std::shared_ptr<Forwarding> all, ScopedFd fd, Endpoint to);
  awaitable<void> run_forwarding(std::shared_ptr<Forwarding> all, std::set<Asker> askers, proto::UdpMoved notice);

  Node& node_;
  std::map<Port, EntryPtr> cache_;
  std::map<uint32_t, std::set<Asker>> askers_;  ///< other daemons that have asked for a process of ours
  std::map<uint32_t, std::shared_ptr<Forwarding>> forwarding_;
};

}  // namespace msocket::daemons
