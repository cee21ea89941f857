// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What msdaemon is asked over its links: by homes (mpiexec, msrun), by tools, by other daemons.
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <stdexcept>

#include "src/daemons/arrivals.h"
#include "src/daemons/datagrams.h"
#include "src/daemons/fitness.h"
#include "src/daemons/image_pump.h"
#include "src/daemons/mover.h"
#include "src/daemons/node.h"
#include "src/daemons/redirector.h"
#include "src/daemons/spawner.h"
#include "src/daemons/standby.h"

namespace msocket::daemons {

namespace {
constexpr Millis kHomeReturns(30000);
}

awaitable<void> Node::serve(Link::Ptr link, proto::Envelope request, proto::Envelope& reply) {
  switch (request.body_case()) {
    case proto::Envelope::kStartRank:
      co_await start_rank(link, request.start_rank(), reply.mutable_start_rank());
      break;
    case proto::Envelope::kAttach:
      attach(link, request.attach());
      break;
    case proto::Envelope::kListRanks:
      for (auto& [vip, rank] : ranks) {
        if (!rank->here()) continue;
        if (!request.list_ranks().job().empty() && request.list_ranks().job() != rank->spec.job()) continue;
        auto* info = reply.mutable_list_ranks()->add_ranks();
        *info = rank->info();
        info->set_node(name());
        info->set_cores(placement.where(vip));
      }
      reply.mutable_list_ranks();
      break;
    case proto::Envelope::kListStrangers: server_->list_strangers(reply.mutable_list_strangers()); break;
    case proto::Envelope::kMigrate: {
      const auto& wanted = request.migrate();
      Rank::Ptr rank = find(wanted.job(), wanted.rank());
      if (!rank || !rank->here())
        throw std::runtime_error("no rank " + wanted.job() + ":" + std::to_string(wanted.rank()) + " on node " + name());
      uint64_t limit = wanted.limit() ? wanted.limit() : uint64_t{config.node.move_limit} << 20;
      Precopy::Tell tell;
      if (wanted.progress())
        tell = [link](const proto::MoveProgress& progress) {
          proto::Envelope notice;
          *notice.mutable_move_progress() = progress;
          if (link->open()) link->notify(std::move(notice));
        };
      *reply.mutable_migrate()->mutable_report() = co_await mover_->migrate(rank, wanted.to(), limit, tell);
      break;
    }
    case proto::Envelope::kWhy: {
      Rank::Ptr rank = find(request.why().job(), request.why().rank());
      if (!rank || !rank->here())
        throw std::runtime_error("no rank " + request.why().job() + ":" + std::to_string(request.why().rank()) + " on node " + name());
      *reply.mutable_why() = request.why();
      co_await mover_->why(rank, reply.mutable_why());
      break;
    }
    case proto::Envelope::kWhyNotHere:
      reply.mutable_why_not_here();
      for (const auto& reason : why_not_here(*this, request.why_not_here().prepare())) reply.mutable_why_not_here()->add_reasons(reason);
      break;
    case proto::Envelope::kSuspend: {
      const auto& wanted = request.suspend();
      Rank::Ptr rank = find(wanted.job(), wanted.rank());
      if (!rank || !rank->here())
        throw std::runtime_error("no rank " + wanted.job() + ":" + std::to_string(wanted.rank()) + " on node " + name());
      *reply.mutable_suspend() = co_await mover_->suspend(rank, wanted);
      break;
    }
    case proto::Envelope::kResume: {
      const auto& wanted = request.resume();
      Rank::Ptr rank = find(wanted.job(), wanted.rank());
      if (!rank || !rank->here())
        throw std::runtime_error("no rank " + wanted.job() + ":" + std::to_string(wanted.rank()) + " on node " + name());
      *reply.mutable_resume()->mutable_report() = co_await mover_->resume(rank, wanted);
      break;
    }
    case proto::Envelope::kReadImage: {
      reply.mutable_read_image();
      *reply.mutable_read_image()->mutable_head() = co_await verify_image(io.get_executor(), request.read_image().path());
      break;
    }
    case proto::Envelope::kPrepare: co_await arrivals_->prepare(link, request.prepare()); break;
    case proto::Envelope::kArrived: co_await arrivals_->arrived(request.arrived()); break;
    case proto::Envelope::kHandover:
      co_await arrivals_->handover(request.handover(), reply.mutable_handover());
      break;
    case proto::Envelope::kCommit: co_await arrivals_->commit(request.commit()); break;
    case proto::Envelope::kCallOff: arrivals_->call_off(request.call_off()); break;
    case proto::Envelope::kAskMigration: co_await arrivals_->ask(request.ask_migration(), reply.mutable_ask_migration()); break;
    case proto::Envelope::kRedirect:
      co_await redirector_->serve_redirect(request.redirect(), reply.mutable_redirect());
      break;
    case proto::Envelope::kStandby: co_await standby_->serve(request.standby(), reply.mutable_standby()); break;
    case proto::Envelope::kStandbyOver: {
      const auto& over = request.standby_over();
      reply.mutable_standby_over()->set_count(co_await standby_->wait_prepared(over.vip(), over.generation()));
      break;
    }
    case proto::Envelope::kUdpLookup: datagrams_->serve_lookup(request.udp_lookup(), reply.mutable_udp_lookup()); break;
    case proto::Envelope::kUdpMoved: co_await datagrams_->serve_moved(request.udp_moved()); break;
    default: throw std::runtime_error("this is a node's daemon: it does not take that request");
  }
}

awaitable<void> Node::start_rank(Link::Ptr home, proto::StartRank request, proto::StartRank* reply) {
  check_room();
  auto rank = std::make_shared<Rank>(io.get_executor());
  rank->spec = request;
  rank->home = home;
  if (request.argv().empty()) throw std::runtime_error("no program given");
  struct stat st;
  if (stat(request.cwd().c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
    throw std::runtime_error("no directory " + request.cwd() + " on node " + name());
  std::vector<std::string> env(request.env().begin(), request.env().end());
  rank->program = find_program(request.argv(0), env, request.cwd());
  proto::Envelope question;
  auto* wanted = question.mutable_alloc_address();
  wanted->set_job(request.job());
  wanted->set_rank(request.rank());
  wanted->set_node(name());
  wanted->set_wanted_vip(request.wanted_vip());
  proto::Envelope answer = co_await directory.ask_master(request.wanted_vip(), std::move(question));
  rank->vip = answer.alloc_address().address().vip();
  ranks[rank->vip] = rank;
  departed.erase(rank->vip);
  std::string why;
  try {
    co_await launch(rank);
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (!why.empty()) {
    drop(rank);
    throw std::runtime_error(why);
  }
  if (!rank->home) kill(rank, SIGKILL);  // gone meanwhile
  start_streams(rank);
  spdlog::info("rank {} started: {} pid {}", rank->name(), rank->program, rank->pid);
  reply->set_node(name());
  reply->set_vip(rank->vip);
  reply->set_pid(rank->pid);
}

void Node::attach(const Link::Ptr& home, const proto::Attach& request) {
  Rank::Ptr rank = find(request.job(), request.rank());
  if (!rank || !(rank->here() || rank->awaits_home))
    throw std::runtime_error("no rank " + request.job() + ":" + std::to_string(request.rank()) + " on node " + name());
  rank->home = home;
  rank->awaits_home = false;
  rank->streams->home_changed();
  if (rank->exited && rank->state == RankState::kGone) rank->tell_exit();  // it came here and ended at once
  rank->changed.notify();
}

void Node::on_notice(Link::Ptr link, const proto::Envelope& notice) {
  auto with = [&](const auto& message, auto action) {
    Rank::Ptr rank = find(message.job(), message.rank());
    if (rank && rank->streams && rank->home == link) action(*rank, message);
  };
  switch (notice.body_case()) {
    case proto::Envelope::kStreamData:
      with(notice.stream_data(), [](Rank& rank, const auto& data) { rank.streams->on_data(data); });
      break;
    case proto::Envelope::kStreamAck:
      with(notice.stream_ack(), [](Rank& rank, const auto& ack) {
        rank.streams->on_ack(ack);
        if (rank.exited) rank.changed.notify();
      });
      break;
    case proto::Envelope::kSignalRank:
      with(notice.signal_rank(), [this](Rank& rank, const auto& signal) {
        bool still = rank.state == RankState::kMoving || rank.state == RankState::kSuspended;
        if (still && signal.signo() != SIGKILL) rank.held_signals.push_back(signal.signo());
        else kill(rank.shared_from_this(), signal.signo());
      });
      break;
    default: spdlog::warn("{}: a notice of unknown kind", link->name());
  }
}

void Node::on_link_closed(Link::Ptr link) {
  arrivals_->link_closed(link);
  for (auto& [vip, rank] : ranks) {
    if (rank->home != link) continue;
    rank->home = nullptr;
    rank->changed.notify();
    spdlog::info("rank {}: its home has gone; it ends", rank->name());
    kill(rank, SIGKILL);
  }
}

awaitable<void> Node::wait_for_home(Rank::Ptr rank) {
  bool came = co_await wait_until(rank->changed, kHomeReturns, [&] { return !rank->awaits_home; });
  if (came) co_return;
  rank->awaits_home = false;
  rank->changed.notify();
  spdlog::warn("rank {}: nobody has asked for it since it came here; it ends", rank->name());
  kill(rank, SIGKILL);
}

}  // namespace msocket::daemons
