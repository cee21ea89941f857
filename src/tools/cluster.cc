// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/cluster.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace msocket {

namespace {
// A daemon that moves a large rank answers late, and says itself why it has given up: this is above the sum of its limits
// (src/daemons/mover.cc). A host that vanishes is noticed by the link.
constexpr Millis kMigrateLimit(1000LL * 3600 * 24);  // much memory, little of the network
constexpr Millis kImageLimit(600000);  // a large image on a slow disk

// Jobs are numbers to people: 2 before 10.
bool rank_less(const proto::RankInfo& a, const proto::RankInfo& b) {
  if (a.job() == b.job()) return a.rank() < b.rank();
  if (a.job().size() != b.job().size()) return a.job().size() < b.job().size();
  return a.job() < b.job();
}
}  // namespace

Cluster::Cluster(asio::any_io_executor executor, Config config) : executor_(executor), config_(std::move(config)) {}

Cluster::~Cluster() {
  for (auto& [name, link] : links_) link->close();
}

awaitable<Link::Ptr> Cluster::link_to(std::string address, uint16_t port, Millis limit) {
  std::string name = address + ":" + std::to_string(port);
  auto known = links_.find(name);
  if (known != links_.end() && known->second->open()) co_return known->second;
  Link::Ptr link = co_await Link::connect(executor_, address, port, config_.key, limit);
  known = links_.find(name);  // somebody else may have been faster
  if (known != links_.end() && known->second->open()) {
    link->close();
    co_return known->second;
  }
  links_[name] = link;
  link->start(nullptr, on_notice_, on_closed_);
  co_return link;
}

awaitable<Link::Ptr> Cluster::master() {
  const MasterConfig& master = config_.masters.front();
  std::string why;
  try {
    Link::Ptr link = co_await link_to(master.address, master.port);
    co_return link;
  } catch (const std::exception& error) {
    why = error.what();
  }
  throw std::runtime_error("the master does not answer: " + why);
}

awaitable<Link::Ptr> Cluster::daemon(proto::NodeInfo node) {
  try {
    Link::Ptr link = co_await link_to(node.address(), node.port());
    co_return link;
  } catch (const std::exception&) {
  }
  throw std::runtime_error("node " + node.name() + ": its daemon does not answer");
}

awaitable<std::vector<proto::NodeInfo>> Cluster::nodes() {
  Link::Ptr link = co_await master();
  proto::Envelope request;
  request.mutable_list_nodes();
  proto::Envelope reply = co_await link->call(std::move(request));
  std::vector<proto::NodeInfo> nodes(reply.list_nodes().nodes().begin(), reply.list_nodes().nodes().end());
  std::sort(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) { return a.name() < b.name(); });
  co_return nodes;
}

awaitable<std::string> Cluster::new_job() {
  Link::Ptr link = co_await master();
  proto::Envelope request;
  const passwd* user = getpwuid(getuid());
  request.mutable_new_job()->set_user(user ? user->pw_name : std::to_string(getuid()));
  proto::Envelope reply = co_await link->call(std::move(request));
  if (reply.new_job().job().empty()) throw std::runtime_error("the master gives no job number");
  co_return reply.new_job().job();
}

awaitable<proto::Lookup> Cluster::lookup(std::string job, uint32_t rank) {
  Link::Ptr link = co_await master();
  proto::Envelope request;
  request.mutable_lookup()->set_job(job);
  request.mutable_lookup()->set_rank(rank);
  try {
    proto::Envelope reply = co_await link->call(std::move(request));
    co_return reply.lookup();
  } catch (const std::exception&) {
    if (!link->open()) throw;
  }
  co_return proto::Lookup();  // refused: it knows no such rank
}

awaitable<std::vector<proto::RankInfo>> Cluster::ranks_on(proto::NodeInfo node) {
  Link::Ptr link = co_await daemon(node);
  proto::Envelope request;
  request.mutable_list_ranks();
  std::string why;
  try {
    proto::Envelope reply = co_await link->call(std::move(request));
    std::vector<proto::RankInfo> ranks(reply.list_ranks().ranks().begin(), reply.list_ranks().ranks().end());
    for (auto& rank : ranks)
      if (rank.node().empty()) rank.set_node(node.name());
    std::sort(ranks.begin(), ranks.end(), rank_less);
    co_return ranks;
  } catch (const std::exception& error) {
    why = link->open() ? error.what() : "its daemon does not answer";
  }
  throw std::runtime_error("node " + node.name() + ": " + why);
}

awaitable<proto::ListStrangers> Cluster::strangers_at(proto::NodeInfo node) {
  Link::Ptr link = co_await daemon(node);
  proto::Envelope request;
  request.mutable_list_strangers();
  proto::Envelope reply = co_await link->call(std::move(request));
  co_return reply.list_strangers();
}

awaitable<proto::ListStrangers> Cluster::strangers_at_master() {
  Link::Ptr link = co_await master();
  proto::Envelope request;
  request.mutable_list_strangers();
  proto::Envelope reply = co_await link->call(std::move(request));
  co_return reply.list_strangers();
}

awaitable<std::vector<proto::RankInfo>> Cluster::all_ranks(std::vector<proto::NodeInfo> nodes,
                                                           std::function<void(const std::string&)> failed) {
  std::map<std::string, proto::RankInfo> newest;
  for (const auto& node : nodes) {
    if (!node.alive()) continue;
    std::vector<proto::RankInfo> ranks;
    std::string why;
    try {
      ranks = co_await ranks_on(node);
    } catch (const std::exception& error) {
      why = error.what();
    }
    if (!why.empty() && failed) failed(why);
    for (auto& rank : ranks) {
      auto& known = newest[rank_name(rank.job(), rank.rank())];
      if (known.job().empty() || known.generation() < rank.generation()) known = rank;
    }
  }
  std::vector<proto::RankInfo> all;
  for (auto& [name, rank] : newest) all.push_back(std::move(rank));
  std::sort(all.begin(), all.end(), rank_less);
  co_return all;
}

awaitable<proto::Envelope> Cluster::ask(proto::NodeInfo node, proto::Envelope request) {
  Link::Ptr link = co_await daemon(node);
  std::string why;
  try {
    proto::Envelope reply = co_await link->call(std::move(request), kImageLimit);
    co_return reply;
  } catch (const std::exception& error) {
    why = link->open() ? error.what() : "node " + node.name() + ": its daemon does not answer any more";
  }
  throw std::runtime_error(why);
}

awaitable<proto::MoveReport> Cluster::migrate(proto::NodeInfo from, std::string job, uint32_t rank, std::string to,
                                              uint64_t limit, bool progress) {
  Link::Ptr link = co_await daemon(from);
  proto::Envelope request;
  request.mutable_migrate()->set_job(job);
  request.mutable_migrate()->set_rank(rank);
  request.mutable_migrate()->set_to(to);
  request.mutable_migrate()->set_limit(limit);
  request.mutable_migrate()->set_progress(progress);
  std::string why;
  try {
    proto::Envelope reply = co_await link->call(std::move(request), kMigrateLimit);
    co_return reply.migrate().report();
  } catch (const std::exception& error) {
    why = link->open() ? error.what() : "node " + from.name() + ": its daemon does not answer any more";
  }
  throw std::runtime_error(why);
}

}  // namespace msocket
