// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The tools' view of a cluster: its master, its nodes, their ranks. Links are made on demand, one per address, and made
// anew when they are lost. Every failure is a std::runtime_error with one line for a person. Not thread-safe.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "src/tools/names.h"
#include "src/wire/config.h"
#include "src/wire/link.h"

namespace msocket {

class Cluster {
 public:
  Cluster(asio::any_io_executor executor, Config config);
  ~Cluster();

  /// Handlers for every link made from here on (a Home hears of its ranks by them).
  void on_notice(Link::OnNotice handler) { on_notice_ = std::move(handler); }
  void on_closed(Link::OnClosed handler) { on_closed_ = std::move(handler); }

  awaitable<Link::Ptr> master();
  awaitable<Link::Ptr> link_to(std::string address, uint16_t port, Millis limit = Millis(5000));
  /// "node c: its daemon does not answer" if so.
  awaitable<Link::Ptr> daemon(proto::NodeInfo node);

  awaitable<std::vector<proto::NodeInfo>> nodes();
  awaitable<std::string> new_job();
  /// Where the rank is registered now; nothing (address().vip() == 0) when the master does not know it.
  awaitable<proto::Lookup> lookup(std::string job, uint32_t rank);
  awaitable<std::vector<proto::RankInfo>> ranks_on(proto::NodeInfo node);
  /// Who was refused at a node's port, or at the master's.
  awaitable<proto::ListStrangers> strangers_at(proto::NodeInfo node);
  awaitable<proto::ListStrangers> strangers_at_master();
  /// The ranks of all alive nodes, ordered; one that two daemons list counts where its generation is newest.
  /// `failed` gets a line for each daemon that does not answer.
  awaitable<std::vector<proto::RankInfo>> all_ranks(std::vector<proto::NodeInfo> nodes,
                                                    std::function<void(const std::string&)> failed);
  /// Moves one rank from `from`; throws the daemon's reason. `limit`: bytes per second while it runs, 0: the daemon's own.
  /// `progress`: the notice handler hears of it meanwhile.
  awaitable<proto::MoveReport> migrate(proto::NodeInfo from, std::string job, uint32_t rank, std::string to, uint64_t limit = 0,
                                       bool progress = false);
  /// Any request to a node's daemon; throws its reason.
  awaitable<proto::Envelope> ask(proto::NodeInfo node, proto::Envelope request);

  const Config& config() const { return config_; }
  asio::any_io_executor executor() const { return executor_; }

 private:
  asio::any_io_executor executor_;
  Config config_;
  std::map<std::string, Link::Ptr> links_;  // by address:port
  Link::OnNotice on_notice_;
  Link::OnClosed on_closed_;
};

}  // namespace msocket
