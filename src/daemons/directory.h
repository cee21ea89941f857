// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/wire/config.h"
#include "src/wire/link.h"

namespace msocket::daemons {

/// Where a virtual address is.
struct Place {
  std::string node;
  std::string address;
  uint16_t port = 0;
  uint32_t generation = 0;
};

/// The daemon's view of the masters, the other nodes, and who is where: links that are kept and made again, a cache of
/// places that a `moved` answer corrects (paper 5.2, 6.2).
class Directory {
 public:
  using Describe = std::function<proto::RegisterNode(const Subnet&)>;
  Directory(asio::io_context& io, const Config& config);
  /// Registers this node at every master and goes on doing so every two seconds.
  void start(Describe describe, Link::OnRequest on_request, Link::OnNotice on_notice);
  bool registered() const { return registered_; }

  /// Throws with one line for a person when no master answers or the address is unknown.
  awaitable<Place> find(uint32_t vip);
  /// What find() said turned out to be wrong.
  void forget(uint32_t vip) { cache_.erase(vip); }
  /// A newer generation replaces what is known; an older one does not.
  void learn(uint32_t vip, Place place);

  awaitable<proto::Envelope> ask_master(uint32_t vip, proto::Envelope request);
  awaitable<std::vector<proto::NodeInfo>> nodes();
  /// A living node by name; throws "no node 'x' (nodes: a b c)" or "node x: its daemon does not answer".
  awaitable<proto::NodeInfo> node(std::string name);
  awaitable<Link::Ptr> link_to(std::string address, uint16_t port);

 private:
  struct MasterLink {
    MasterConfig config;
    Subnet subnet;
    Link::Ptr link;
  };
  awaitable<void> keep_registered(std::shared_ptr<MasterLink> master);
  MasterLink& master_of(uint32_t vip);

  asio::io_context& io_;
  wire::Key key_;
  std::vector<std::shared_ptr<MasterLink>> masters_;
  std::map<uint32_t, Place> cache_;
  std::map<std::string, Link::Ptr> links_;
  Describe describe_;
  Link::OnRequest on_request_;
  Link::OnNotice on_notice_;
  bool registered_ = false;
};

}  // namespace msocket::daemons
