// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/mover.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <stdexcept>

#include "src/daemons/datagrams.h"
#include "src/daemons/fault.h"
#include "src/daemons/machine.h"
#include "src/daemons/node.h"
#include "src/daemons/redirector.h"
#include "src/transport/channel.h"
#include "src/wire/mirror_frame.h"

namespace msocket::daemons {

namespace {
constexpr Millis kConnectLimit(30000);
constexpr Millis kFreezeLimit(30000);
constexpr Millis kReportLimit(2000);  // whoever asked for the move does not wait longer than this for a peer that stands still
}  // namespace

std::shared_ptr<Mover::Move> Mover::begin(const Rank::Ptr& rank, const std::string& to) {
  auto move = std::make_shared<Move>(node_.io.get_executor());
  move->rank = rank;
  move->report.set_job(rank->spec.job());
  move->report.set_rank(rank->spec.rank());
  move->report.set_from(node_.name());
  move->report.set_to(to);
  move->report.set_start(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  move->generation = std::max(rank->generation + 1, rank->next_generation);
  rank->busy = true;
  return move;
}

awaitable<proto::MoveReport> Mover::migrate(Rank::Ptr rank, std::string to, uint64_t limit, Precopy::Tell tell) {
  if (std::string why = rank->why_not(); !why.empty())
    throw std::runtime_error("rank " + rank->name() + " cannot move: " + why);
  if (rank->busy) throw std::runtime_error("rank " + rank->name() + " is moving already");
  if (to == node_.name()) throw std::runtime_error("rank " + rank->name() + " is on node " + to + " already");
  auto move = begin(rank, to);
  std::string why;
  try {
    move->to = co_await node_.directory.node(to);
    move->over("find");
    fault_point("asked");
    co_await look_first(*move);
    move->over("look");
    co_await prepare(*move);
    co_await precopy(*move, limit, tell);
    move->over("precopy");
    co_await wait_for_arrival(*move);
    co_await wait_for_standby(*move);
    move->over("start");
    co_await freeze(*move);
    move->over("freeze");
    co_await hand_over(*move);
    move->over("image");
  } catch (const std::exception& error) {
    why = error.what();
  }
  why = move->named(why);
  if (why.empty()) co_return co_await finish(move);
  co_await call_off(*move, why);
  throw std::runtime_error("rank " + rank->name() + " stays on node " + node_.name() + ": " + why);
}

awaitable<proto::MoveReport> Mover::finish(std::shared_ptr<Move> move) {
  co_await commit(*move);
  spawn(node_.io.get_executor(), [this, move]() -> awaitable<void> { co_await drain(move); });
  bool drained = co_await wait_until(move->changed, kReportLimit, [&] { return move->drained; });
  if (!drained) {
    move->report.set_draining(true);
    move->report.set_total_ms(ms_since(move->started));
  }
  co_return move->report;
}

awaitable<void> Mover::freeze(Move& move) {
  const Rank::Ptr& rank = move.rank;
  fault_point("freeze");
  // Redirections that have reached the process are before kFreeze in its channel; none begins once the rank is marked.
  bool still = co_await wait_until(rank->changed, kConnectLimit, [&] { return rank->connecting == 0 || rank->exited; });
  if (rank->exited) throw std::runtime_error("it has ended");
  if (!still) throw std::runtime_error("it does not come to a stop (a connect() that goes on)");
  rank->state = RankState::kMoving;
  rank->frozen.reset();
  wire::ControlRecord record;
  record.type = wire::Control::kFreeze;
  move.freeze_at = Clock::now();
  move.frozen_asked = true;
  std::vector<int> fds = {move.image.get(), move.mailbox.get()};
  if (int list = move.precopy.list(); list >= 0) {
    record.flags = wire::kFlagBegun;
    fds.push_back(list);
  }
  if (!rank->channel->send(record, fds)) throw std::runtime_error("it has ended");
  co_await wait_until(rank->changed, kFreezeLimit, [&] { return rank->frozen || rank->exited; });
  if (rank->exited) throw std::runtime_error("it has ended");
  if (!rank->frozen) throw std::runtime_error("it does not come to a stop (a connect() that goes on?)");
  if (rank->frozen->error) throw std::runtime_error(rank->frozen->text);
  // The other side runs, or the image names, what it was.
  if (std::string program = program_of(rank->pid); program != move.program)
    throw std::runtime_error("it has become another program meanwhile (exec), " + program + ": try again");
  move.report.set_connections(rank->frozen->arg0);
  node_.redirector().hand_over(rank, move.mailbox.get());
  fault_point("frozen");
}

awaitable<void> Mover::hand_over(Move& move) {
  proto::Envelope request;
  auto* handover = request.mutable_handover();
  handover->set_vip(move.rank->vip);
  handover->set_generation(move.generation);
  if (move.resumes) *handover = with_held(*move.rank->suspended, move.generation);
  else
    for (auto& state : move.rank->streams->snapshot()) *handover->add_streams() = std::move(state);
  proto::Envelope reply = co_await move.link->call(std::move(request), kHandoverLimit);
  move.report.set_bytes(reply.handover().bytes());
  if (!move.resumes) move.report.set_pause_bytes(reply.handover().bytes() - move.report.precopied());
  move.handed_over = reply.handover();
  if (!move.resumes && move.rank->exited) throw std::runtime_error("it has ended");
  fault_point("filled");
  if (mirror_is_dead(move)) throw std::runtime_error("its mirror has died");
}

awaitable<void> Mover::drain(std::shared_ptr<Move> move) {
  const Rank::Ptr& rank = move->rank;
  move->report.set_generation(move->generation);
  auto moved = [&] {
    proto::Envelope notice;
    auto* m = notice.mutable_rank_moved();
    m->set_job(rank->spec.job());
    m->set_rank(rank->spec.rank());
    m->set_node(move->to.name());
    m->set_address(move->to.address());
    m->set_port(move->to.port());
    m->set_generation(move->generation);
    return notice;
  };
  Link::Ptr home = rank->home;
  if (home && home->open()) home->notify(moved());
  co_await wait_until(rank->changed, kDrainWarning, [&] { return rank->exited; });
  move->over("exit");
  move->precopy.end();  // not before: of a process that has ended there is nothing to be undone
  node_.drop(rank);
  co_await node_.datagrams().wait_forwarded(rank->vip);
  bool gone = co_await wait_until(move->changed, kDrainWarning, [&] { return move->mirror_exited; });
  if (!gone) spdlog::warn("rank {}: its mirror is still needed after a minute", rank->name());
  while (!move->mirror_exited) co_await wait_until(move->changed, kDrainWarning, [&] { return move->mirror_exited; });
  move->over("drain");
  move->report.set_draining(false);
  move->report.set_total_ms(ms_since(move->started));
  spdlog::info("rank {} moved to {}: {} rounds, pause {:.1f} ms, total {:.1f} ms, {} connections", rank->name(), move->to.name(),
               move->report.rounds(), move->report.pause_ms(), move->report.total_ms(), move->report.connections());
  proto::Envelope notice = moved();
  *notice.mutable_rank_moved()->mutable_report() = move->report;
  if (home && home->open()) home->notify(std::move(notice));
  move->drained = true;
  move->changed.notify();
}

awaitable<void> Mover::call_off(Move& move, std::string why) {
  const Rank::Ptr& rank = move.rank;
  move.off = true;
  spdlog::warn("rank {} stays: {}", rank->name(), why);
  // A resume on this node had put the new one there. One that ended before it was frozen may have been dropped already.
  if (rank->state != RankState::kGone) node_.ranks[rank->vip] = rank;
  // A process that is writing into a stream that nobody reads any more must come to hear the verdict.
  if (move.image) shutdown(move.image.get(), SHUT_RDWR);
  move.image.reset();
  move.precopy.end();
  if (move.frozen_asked) {
    wire::ControlRecord verdict;
    verdict.type = wire::Control::kRollback;
    rank->channel->send(verdict);
  }
  if (move.resumes) rank->suspended->mailbox = std::move(move.mailbox);
  else co_await end_mirror(move);
  move.mailbox.reset();
  if (move.link && move.link->open()) {
    proto::Envelope request;
    request.mutable_call_off()->set_vip(rank->vip);
    request.mutable_call_off()->set_generation(move.generation);
    request.mutable_call_off()->set_reason(why);
    try {
      co_await move.link->call(std::move(request), Millis(2000));
    } catch (const std::exception&) {
    }
  }
  rank->busy = false;
  if (move.resumes) {
    back_to_suspended(move);
    co_return;
  }
  if (rank->state != RankState::kMoving) co_return;
  rank->state = RankState::kRunning;
  rank->streams->resume();
  for (int signo : std::exchange(rank->held_signals, {})) node_.kill(rank, signo);
  rank->changed.notify();
  if (rank->exited) node_.ended(rank);
}

// It has only held the connections so far.
awaitable<void> Mover::end_mirror(Move& move) {
  co_await wait_until(move.changed, Millis(5000), [&] { return !move.mirror_start.under_way; });
  move.mailbox.reset();
  if (move.mirror > 0 && !move.mirror_exited)
    co_await wait_until(move.changed, Millis(5000), [&] { return move.mirror_exited; });
  if (move.mirror > 0 && !move.mirror_exited) ::kill(move.mirror, SIGKILL);
}

}  // namespace msocket::daemons
