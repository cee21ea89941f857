// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <map>
#include <memory>

#include "src/daemons/rank.h"
#include "src/wire/port.h"

namespace msocket::daemons {

class Node;

/// The destination's side of a move (doc/migration.md): a process is started, filled and, at the commit, let go. Whatever
/// goes wrong before that, the process is ended and the source goes on.
class Arrivals {
 public:
  explicit Arrivals(Node& node) : node_(node) {}
  /// Returns when the program is being started.
  awaitable<void> prepare(Link::Ptr source, proto::Prepare request);
  /// Returns when it has begun, and waits for its image.
  awaitable<void> arrived(proto::Arrived request);
  /// A data connection for an image or from a mirror.
  awaitable<void> accept(tcp::socket socket, wire::Caller caller);
  /// Returns when the new process is filled.
  awaitable<void> handover(proto::Handover request, proto::Handover* reply);
  awaitable<void> commit(proto::Commit request);
  void call_off(const proto::CallOff& request);
  /// Did the commit of this generation take place here? "No" is a promise: what was not committed is thrown away. A daemon
  /// that does not know the move (it was started since) does not promise anything.
  awaitable<void> ask(proto::AskMigration request, proto::AskMigration* reply);
  /// The source is gone before the commit: so is what it was sending.
  void link_closed(const Link::Ptr& link);

 private:
  struct Arrival {
    Rank::Ptr rank;
    Link::Ptr source;
    ScopedFd image, mirror;
    std::string image_path, image_id;  ///< instead of a data connection
    bool up = false;       ///< the program has begun
    bool started = false;  ///< and is being filled
    std::string why;       ///< it was not, or will not be
  };
  using ArrivalPtr = std::shared_ptr<Arrival>;
  ArrivalPtr find(uint32_t vip, Generation generation) const;
  void look_ahead(const Rank::Ptr& rank);
  awaitable<void> register_here(Rank::Ptr rank);
  awaitable<void> bring_up(ArrivalPtr arrival);
  void begin_filling(Arrival& arrival);
  void discard(const ArrivalPtr& arrival, const std::string& why);

  Node& node_;
  std::map<uint32_t, ArrivalPtr> arrivals_;
  struct Outcome {
    std::string job;
    Generation generation = 0;
    bool committed = false;
    std::string why;  ///< not
  };
  /// What became of the last arrival of each address here, for a source that has to ask.
  std::map<uint32_t, Outcome> outcomes_;
};

}  // namespace msocket::daemons
