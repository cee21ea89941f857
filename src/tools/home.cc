// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/home.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <stdexcept>

#include "src/tools/timeline.h"

namespace msocket {

namespace {
// A daemon searches PATH, forks and asks the master for an address; all of that is quick even on a loaded node.
constexpr Millis kStartLimit(30000);
constexpr Millis kAttachLimit(5000);
// The daemon may have been shut down right after the rank moved away, and the master learns of both with a delay.
constexpr Millis kRecoverLimit(15000);
constexpr Millis kRecoverPause(500);
// After the exit notice, silence this long means that no more output comes (the pipe is held open by a grandchild).
constexpr Millis kOutputLimit(5000);
// Its daemon's end has killed it. Of a job's rank Hydra must hear of a signal, or it does not end the others; and a peer that sees no
// more than the end of a connection waits on in MPICH.
constexpr int kLostStatus = SIGKILL;
}  // namespace

Home::Home(asio::any_io_executor executor, Config config)
    : executor_(executor), cluster_(executor, std::move(config)), changed_(executor) {
  cluster_.on_notice([this, alive = alive_](Link::Ptr link, const proto::Envelope& notice) {
    if (*alive) on_notice(link, notice);
  });
  cluster_.on_closed([this, alive = alive_](Link::Ptr link) {
    if (*alive) on_closed(link);
  });
}

Home::~Home() {
  *alive_ = false;
  for (auto& [number, rank] : ranks_) rank->io->close();
}

awaitable<void> Home::open_job() { job_ = co_await cluster_.new_job(); }

awaitable<uint32_t> Home::join_shared_job() {
  std::string number = co_await cluster_.new_job();
  job_ = kSharedJob;
  co_return static_cast<uint32_t>(std::stoul(number));
}

Home::RankPtr Home::find(const std::string& job, uint32_t number) {
  auto found = ranks_.find(number);
  return job == job_ && found != ranks_.end() ? found->second : nullptr;
}

awaitable<void> Home::start(proto::StartRank spec, RankFds fds, std::string node, OnExit on_exit,
                            RankIo::Filter pmi_filter) {
  spec.set_job(job_);
  auto rank = std::make_shared<Rank>();
  rank->number = spec.rank();
  rank->node = node;
  rank->on_exit = std::move(on_exit);
  rank->io = std::make_shared<RankIo>(executor_, job_, spec.rank(), std::move(fds));
  rank->io->filter_pmi(std::move(pmi_filter));
  rank->io->on_broken_pipe([this, alive = alive_, number = rank->number] {
    if (*alive) signal(number, SIGPIPE);
  });
  if (!ranks_.emplace(rank->number, rank).second)
    throw std::runtime_error("rank " + std::to_string(spec.rank()) + " is there already");

  std::string why;
  try {
    std::vector<proto::NodeInfo> nodes = co_await cluster_.nodes();
    const proto::NodeInfo* place = find_node(nodes, node);
    if (!place || !place->alive())
      throw std::runtime_error("no node '" + node + "' (nodes: " + node_names(nodes, true) + ")");
    rank->link = co_await cluster_.daemon(*place);
    proto::Envelope request;
    *request.mutable_start_rank() = std::move(spec);
    co_await rank->link->call(std::move(request), kStartLimit);
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (!why.empty()) {
    rank->io->close();
    ranks_.erase(rank->number);
    changed_.notify();
    throw std::runtime_error(why);
  }
  // It may have moved or ended before this answer was heard.
  rank->started = true;
  if (rank->generation == 0 && rank->link) rank->io->attach(rank->link);
  rank->io->start();
  if (rank->link)
    for (int signo : std::exchange(rank->signals, {})) send_signal(*rank, signo);
  if (rank->link && !rank->link->open()) start_recovery(rank);
}

void Home::on_notice(const Link::Ptr& from, const proto::Envelope& notice) {
  switch (notice.body_case()) {
    case proto::Envelope::kStreamData: {
      const auto& data = notice.stream_data();
      if (RankPtr rank = find(data.job(), data.rank())) rank->io->on_data(data);
      break;
    }
    case proto::Envelope::kStreamAck: {
      const auto& ack = notice.stream_ack();
      if (RankPtr rank = find(ack.job(), ack.rank())) rank->io->on_ack(from, ack);
      break;
    }
    case proto::Envelope::kRankMoved:
      on_moved(notice.rank_moved());
      break;
    case proto::Envelope::kRankExited:
      on_exited(notice.rank_exited());
      break;
    default:
      break;  // a newer daemon's notice
  }
}

void Home::on_moved(const proto::RankMoved& moved) {
  RankPtr rank = find(moved.job(), moved.rank());
  if (moved.has_report() && moved.job() == job_) {
    // The rank may have ended before its old node was clean; its move belongs in the timeline all the same.
    if (!rank || rank->reported < moved.generation()) append_to_timeline(moved.report());
    if (rank) rank->reported = std::max(rank->reported, moved.generation());
  }
  if (!rank || rank->exited || moved.generation() <= rank->generation) return;
  rank->generation = moved.generation();
  rank->node = moved.node();
  rank->link.reset();
  rank->io->detach();
  std::string address = moved.address();
  uint16_t port = moved.port();
  uint32_t generation = moved.generation();
  spawn(executor_, [this, alive = alive_, rank, address, port, generation]() -> awaitable<void> {
    bool there = co_await attach(rank, address, port, generation);
    if (*alive && !there && rank->generation == generation) start_recovery(rank);
  });
}

awaitable<bool> Home::attach(RankPtr rank, std::string address, uint16_t port, uint32_t generation) {
  auto alive = alive_;
  try {
    Link::Ptr link = co_await cluster_.link_to(address, port, kAttachLimit);
    if (!*alive || rank->exited || rank->generation != generation) co_return true;
    proto::Envelope request;
    request.mutable_attach()->set_job(job_);
    request.mutable_attach()->set_rank(rank->number);
    co_await link->call(std::move(request), kAttachLimit);
    if (!*alive || rank->exited || rank->generation != generation) co_return true;
    rank->link = link;
    rank->io->attach(link);
    for (int signo : std::exchange(rank->signals, {})) send_signal(*rank, signo);
    co_return true;
  } catch (const std::exception&) {
  }
  co_return false;
}

void Home::on_closed(const Link::Ptr& link) {
  std::vector<RankPtr> left;
  for (auto& [number, rank] : ranks_)
    if (rank->link == link) left.push_back(rank);
  for (const RankPtr& rank : left) {
    rank->io->detach();
    if (!rank->started || rank->exited) continue;
    lost_nodes_.insert(rank->node);
    start_recovery(rank);
  }
}

void Home::start_recovery(const RankPtr& rank) {
  if (rank->recovering || rank->exited) return;
  rank->recovering = true;
  rank->link.reset();
  spawn(executor_, [this, rank]() -> awaitable<void> { co_await recover(rank); });
}

awaitable<void> Home::recover(RankPtr rank) {
  auto alive = alive_;
  auto deadline = Clock::now() + kRecoverLimit;
  while (Clock::now() < deadline) {
    proto::Lookup place;
    try {
      place = co_await cluster_.lookup(job_, rank->number);
    } catch (const std::exception&) {
    }
    // A RankMoved notice may have found it meanwhile, or it has exited.
    if (!*alive || rank->exited) co_return;
    if (rank->link && rank->link->open()) break;
    // The same generation counts too: a notice told us of it, but its daemon could not be reached then.
    bool newer = place.address().generation() > rank->generation;
    bool same = rank->generation > 0 && place.address().generation() == rank->generation;
    if (place.address().vip() && (newer || same)) {
      rank->generation = place.address().generation();
      rank->node = place.address().node();
      bool there = co_await attach(rank, place.node().address(), place.node().port(), rank->generation);
      if (!*alive || rank->exited) co_return;
      if (there && rank->link) break;
    }
    co_await sleep_for(kRecoverPause);
    if (!*alive || rank->exited) co_return;
  }
  rank->recovering = false;
  if (rank->link) co_return;
  rank->exited = true;
  std::string why = "rank " + std::to_string(rank->number) + ": node " + rank->node + " is gone";
  lost_nodes_.erase(rank->node);
  co_await finish(rank, kLostStatus, why, Millis(0));
}

void Home::on_exited(const proto::RankExited& exited) {
  RankPtr rank = find(exited.job(), exited.rank());
  if (!rank || rank->exited || exited.generation() < rank->generation) return;
  rank->exited = true;
  int status = exited.wait_status();
  if (!exited.lost().empty()) {
    // At once and not by the stub: its peers may give up now, and Hydra then kills the stubs.
    std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, exited.lost().c_str());
    status = kLostStatus;
  }
  spawn(executor_, [this, rank, status]() -> awaitable<void> { co_await finish(rank, status, "", kOutputLimit); });
}

awaitable<void> Home::finish(RankPtr rank, int wait_status, std::string why, Millis output) {
  auto alive = alive_;
  if (output > Millis(0)) co_await rank->io->finish(output);
  rank->io->close();
  if (!*alive) co_return;
  if (rank->on_exit) rank->on_exit(wait_status, why);
  ranks_.erase(rank->number);
  changed_.notify();
}

void Home::send_signal(Rank& rank, int signo) {
  if (!rank.started || !rank.link || !rank.link->open()) {
    rank.signals.push_back(signo);
    return;
  }
  proto::Envelope notice;
  notice.mutable_signal_rank()->set_job(job_);
  notice.mutable_signal_rank()->set_rank(rank.number);
  notice.mutable_signal_rank()->set_signo(signo);
  rank.link->notify(std::move(notice));
}

void Home::signal(uint32_t number, int signo) {
  RankPtr rank = find(job_, number);
  if (rank && !rank->exited) send_signal(*rank, signo);
}

void Home::kill_all() {
  for (auto& [number, rank] : ranks_)
    if (!rank->exited) send_signal(*rank, SIGKILL);
}

void Home::give_up_lost() {
  std::erase_if(ranks_, [this](auto& entry) {
    const RankPtr& rank = entry.second;
    if (!rank->recovering || rank->exited) return false;
    std::fprintf(stderr, "%s: rank %u: node %s is gone\n", program_invocation_short_name, rank->number, rank->node.c_str());
    lost_nodes_.erase(rank->node);
    rank->exited = true;
    rank->io->close();
    return true;
  });
  changed_.notify();
}

void Home::say_lost_nodes() {
  for (const auto& node : lost_nodes_) std::fprintf(stderr, "%s: node %s is gone\n", program_invocation_short_name, node.c_str());
  lost_nodes_.clear();
}

awaitable<bool> Home::wait_all(Millis limit) {
  bool gone = co_await wait_until(changed_, limit, [this] { return ranks_.empty(); });
  co_return gone;
}

}  // namespace msocket
