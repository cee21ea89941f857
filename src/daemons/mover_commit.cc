// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The commit, as the source sees it: asked for, found out about, or lost.
#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <stdexcept>

#include "src/daemons/datagrams.h"
#include "src/daemons/fault.h"
#include "src/daemons/machine.h"
#include "src/daemons/mover.h"
#include "src/daemons/node.h"
#include "src/daemons/redirector.h"
#include "src/transport/channel.h"
#include "src/wire/mirror_frame.h"

namespace msocket::daemons {

namespace {
constexpr Millis kCommitLimit(10000);
constexpr Millis kAskLimit(60000);
constexpr int kAskAlone = 5;           // times that the destination is asked before the master is
constexpr Millis kRegisterLimit(3000);
constexpr Millis kStillThere(3000);    // it has the rank, and a path to the master but none to us
}  // namespace

// Behind the commit its connections would be lost.
bool Mover::mirror_is_dead(const Move& move) { return move.mirror_exited || child_has_ended(move.mirror); }

awaitable<bool> Mover::ask_committed(Move& move) {
  auto deadline = Clock::now() + test_limit("MSOCKET_ASK_LIMIT_MS", kAskLimit);
  const std::string name = "rank " + move.rank->name() + " is lost: node " + move.to.name();
  bool there = false;  // the master has it: only what has become of it since is still to be found out
  for (int attempt = 0; Clock::now() < deadline; ++attempt) {
    bool knows_nothing = false;  // the destination: it was started since
    try {
      Link::Ptr link =
          co_await node_.directory.link_to(move.to.address(), static_cast<uint16_t>(move.to.port()));
      proto::Envelope request;
      request.mutable_ask_migration()->set_vip(move.rank->vip);
      request.mutable_ask_migration()->set_generation(move.generation);
      proto::Envelope reply = co_await link->call(std::move(request), kCommitLimit);
      if (reply.ask_migration().known()) co_return reply.ask_migration().committed();
      knows_nothing = true;
    } catch (const std::exception&) {
    }
    if (knows_nothing || attempt >= kAskAlone) {
      try {
        Fence fence = co_await ask_master(move);
        if (!fence.committed) co_return false;
        if (fence.ended) co_return true;  // it ran there, and has ended: nothing is lost
        if (knows_nothing || !fence.alive) {
          move.lost = name + " had taken it over when its daemon ended";
          co_return true;
        }
        if (!there) deadline = std::min(deadline, Clock::now() + kStillThere);
        there = true;
      } catch (const std::exception&) {
      }
    }
    co_await sleep_for(Millis(100));
  }
  if (!there) move.lost = name + " fell silent in the moment of the commit, and the master does not answer either";
  co_return true;
}

awaitable<Mover::Fence> Mover::ask_master(Move& move) {
  proto::Envelope request, question;
  request.mutable_fence()->set_vip(move.rank->vip);
  request.mutable_fence()->set_generation(move.generation);
  request.mutable_fence()->set_job(move.rank->spec.job());
  request.mutable_fence()->set_rank(move.rank->spec.rank());
  proto::Envelope reply = co_await node_.directory.ask_master(move.rank->vip, std::move(request));
  Fence fence;
  fence.committed = reply.fence().committed();
  fence.ended = reply.fence().ended();
  if (!fence.committed || fence.ended) co_return fence;
  question.mutable_lookup()->set_vip(move.rank->vip);
  proto::Envelope answer = co_await node_.directory.ask_master(move.rank->vip, std::move(question));
  fence.alive = answer.lookup().node().alive();
  co_return fence;
}

awaitable<void> Mover::commit(Move& move) {
  const Rank::Ptr& rank = move.rank;
  std::string why;
  rank->next_generation = move.generation + 1;  // whatever becomes of this one, it is not tried twice
  try {
    proto::Envelope request;
    request.mutable_commit()->set_vip(rank->vip);
    request.mutable_commit()->set_generation(move.generation);
    for (int signo : rank->held_signals) request.mutable_commit()->add_signals(signo);
    co_await move.link->call(std::move(request), kCommitLimit);
  } catch (const std::exception& error) {
    why = move.named(error.what());
  }
  if (!why.empty()) {
    // Never guess: the other side, or the master, knows whether it has started the new process.
    bool committed = co_await ask_committed(move);
    if (!committed) {
      co_await register_again(move);
      co_await call_off(move, why);
      throw std::runtime_error("rank " + rank->name() + " stays " + (move.resumes ? "suspended" : "on node " + node_.name()) +
                               ": " + why);
    }
    if (!move.lost.empty()) {
      co_await lose(move);
      throw std::runtime_error(move.lost);
    }
  }
  move.report.set_pause_ms(ms_since(move.freeze_at));
  move.over("commit");
  fault_point("committed");
  rank->streams->close();  // before the old process ends: the end of its pipes is not the end of the rank's output
  if (move.resumes) {
    send_held(*rank->suspended, move.mailbox.get());
    rank->suspended.reset();
  } else {
    wire::ControlRecord verdict;
    verdict.type = wire::Control::kCommit;
    rank->channel->send(verdict);
  }
  wire::MailboxRecord go{.type = wire::Mailbox::kGo};
  int stream = move.stream.get();
  node_.redirector().leave(rank);
  transport::send_record(move.mailbox.get(), &go, sizeof go, &stream, 1);
  move.mailbox.reset();
  move.stream.reset();
  Place place{move.to.name(), move.to.address(), static_cast<uint16_t>(move.to.port()), move.generation};
  if (place.node != node_.name()) node_.departed[rank->vip] = place;
  node_.directory.learn(rank->vip, place);
  node_.datagrams().moved_away(rank, place, move.handed_over);
  fault_point("draining");
}

awaitable<void> Mover::register_again(Move& move) {
  // Refused as long as the destination has not taken its registration back (Arrivals::commit).
  auto deadline = Clock::now() + kRegisterLimit;
  while (Clock::now() < deadline) {
    try {
      proto::Envelope request;
      auto* address = request.mutable_register_address()->mutable_address();
      address->set_vip(move.rank->vip);
      address->set_generation(move.rank->generation);
      address->set_node(node_.name());
      address->set_job(move.rank->spec.job());
      address->set_rank(move.rank->spec.rank());
      co_await node_.directory.ask_master(move.rank->vip, std::move(request));
      co_return;
    } catch (const std::exception&) {
    }
    co_await sleep_for(Millis(20));
  }
}

awaitable<void> Mover::lose(Move& move) {
  const Rank::Ptr& rank = move.rank;
  spdlog::error("{}", move.lost);
  rank->lost = move.lost;
  rank->tell_exit();  // before its peers see the end of their connections and give up with lines of their own
  if (!move.resumes) node_.kill(rank, SIGKILL);
  co_await end_mirror(move);  // without kGo: its peers see their connections end, as with any process that dies
  while (!move.resumes && !rank->exited) co_await wait_until(rank->changed, kDrainWarning, [&] { return rank->exited; });
  rank->busy = false;
  rank->generation = move.generation;  // the master may have this one: it is to be released
  node_.ended(rank);
}

}  // namespace msocket::daemons
