// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/mover.h"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "src/daemons/datagrams.h"
#include "src/daemons/fault.h"
#include "src/daemons/machine.h"
#include "src/daemons/node.h"
#include "src/daemons/redirector.h"
#include "src/daemons/spawner.h"
#include "src/transport/channel.h"
#include "src/wire/mirror_frame.h"
#include "src/wire/port.h"

namespace msocket::daemons {

namespace {
constexpr Millis kConnectLimit(30000);
constexpr Millis kPrepareLimit(20000);
constexpr Millis kFreezeLimit(30000);
constexpr Millis kHandoverLimit(120000);
constexpr Millis kCommitLimit(10000);
constexpr Millis kAskLimit(60000);
constexpr int kAskAlone = 5;           // times that the destination is asked before the master is
constexpr Millis kRegisterLimit(3000);
constexpr Millis kStillThere(3000);    // it has the rank, and a path to the master but none to us
constexpr Millis kReportLimit(2000);  // whoever asked for the move does not wait longer than this for a peer that stands still
constexpr Millis kDrainWarning(60000);

double since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }
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
    co_await prepare(*move);
    co_await precopy(*move, limit, tell);
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
    move->report.set_total_ms(since(move->started));
  }
  co_return move->report;
}

void Mover::describe(Move& move, proto::Prepare* prepare) {
  const Rank::Ptr& rank = move.rank;
  *prepare->mutable_start() = rank->spec;
  prepare->set_vip(rank->vip);
  prepare->set_generation(move.generation);
  // The file may have been renamed since; the name of today is what the other node must run.
  char program[4096];
  ssize_t n = readlink(("/proc/" + std::to_string(rank->pid) + "/exe").c_str(), program, sizeof program);
  if (n > 0) rank->program.assign(program, n);
  prepare->set_program(rank->program);
  for (auto& file : mapped_files(rank->pid)) *prepare->add_files() = file;
  prepare->set_memory(process_usage(rank->pid).resident);
  prepare->set_pid(rank->said_pid);
  prepare->set_threads(thread_count(rank->pid));
  note_clocks(*rank, prepare);
  prepare->set_cpu(own_cpu());
  *prepare->mutable_needs() = move.needs;
  prepare->set_from(node_.name());
}

// As the program reads them.
void Mover::note_clocks(const Rank& rank, proto::Prepare* prepare) {
  prepare->set_monotonic_ns(clock_ns(CLOCK_MONOTONIC) + rank.identity.monotonic_ns);
  prepare->set_boottime_ns(clock_ns(CLOCK_BOOTTIME) + rank.identity.boottime_ns);
}

awaitable<void> Mover::open_stream(Move& move, wire::Purpose purpose, ScopedFd* stream) {
  const std::string& job = move.rank->spec.job();
  wire::Key key = wire::job_key(node_.config.key, job);
  wire::ConnHeader header;
  header.preamble.purpose = purpose;
  header.to = {move.rank->vip, 0, 0};
  header.to_gen = move.generation;
  strncpy(header.job, job.c_str(), sizeof header.job - 1);
  wire::DataStream data = co_await wire::open_data(node_.io.get_executor(), move.to.address(),
                                                   static_cast<uint16_t>(move.to.port()), header, key, kPrepareLimit);
  if (data.answer.verdict != wire::Verdict::kOk) throw std::runtime_error("node " + move.to.name() + " has changed its mind");
  data.socket.native_non_blocking(false);
  stream->reset(data.socket.release());
}

void Mover::start_mirror(Move& move) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    throw std::runtime_error("no descriptors left for a mirror");
  move.mailbox.reset(pair[0]);
  ScopedFd theirs(pair[1]);
  SpawnSpec spec;
  spec.program = own_folder() + "/msmirror";
  spec.argv = {"msmirror", "--mailbox-fd", "3"};
  spec.cwd = "/";
  spec.all_descriptors = true;  // one for each of the rank's connections
  spec.fds = {{2, 2}, {theirs.get(), 3}};
  move.mirror = spawn_process(spec).pid;
  watch_mirror(move);
}

// While the destination starts the program: in a turn of the loop behind the one in which the request leaves.
void Mover::start_mirror_soon(Move& move) {
  asio::post(node_.io, [this, self = move.shared_from_this()] {
    asio::post(node_.io, [this, self] {
      if (self->off || self->mirror >= 0) return;
      try {
        start_mirror(*self);
      } catch (const std::exception&) {  // it is tried again, and said, when the destination is ready
        self->mailbox.reset();
      }
    });
  });
}

void Mover::watch_mirror(Move& move) {
  node_.watch(move.mirror, [weak = move.weak_from_this()](int) {
    auto m = weak.lock();
    if (!m) return;
    m->mirror_exited = true;
    m->changed.notify();
  });
}

awaitable<void> Mover::prepare(Move& move) {
  move.link = co_await node_.directory.link_to(move.to.address(), static_cast<uint16_t>(move.to.port()));
  proto::Envelope request;
  describe(move, request.mutable_prepare());
  start_mirror_soon(move);
  co_await move.link->call(std::move(request), kPrepareLimit);
  move.over("prepare");
  if (move.mirror < 0) start_mirror(move);
  co_await open_streams(move);
  move.over("connect");
}

// Both at once: each takes three round trips.
awaitable<void> Mover::open_streams(Move& move) {
  struct Opening {
    bool over = false;
    std::string why;
  };
  auto image = std::make_shared<Opening>(), mirror = std::make_shared<Opening>();
  auto open = [&](std::shared_ptr<Opening> opening, wire::Purpose purpose, ScopedFd Move::*stream) {
    auto self = move.shared_from_this();
    spawn(
        node_.io.get_executor(),
        [this, self, opening, purpose, stream]() -> awaitable<void> {
          co_await open_stream(*self, purpose, &((*self).*stream));
          opening->over = true;
          self->changed.notify();
        },
        [self, opening](const std::string& why) {
          opening->over = true;
          opening->why = why;
          self->changed.notify();
        });
  };
  open(image, wire::Purpose::kImage, &Move::image);
  open(mirror, wire::Purpose::kMirror, &Move::stream);
  co_await wait_until(move.changed, 2 * kPrepareLimit, [&] { return image->over && mirror->over; });
  for (auto& opening : {image, mirror})
    if (!opening->over || !opening->why.empty()) throw std::runtime_error(opening->over ? opening->why : "no stream in time");
}

awaitable<void> Mover::precopy(Move& move, uint64_t limit, Precopy::Tell tell) {
  const Rank::Ptr& rank = move.rank;
  fault_point("precopy");
  std::string why;
  try {
    co_await move.precopy.run(rank, move.link, move.image.get(), limit, tell);
  } catch (const std::exception& error) {
    why = error.what();
  }
  move.precopy.report(&move.report);
  if (!move.report.no_precopy().empty()) spdlog::info("rank {}: no pre-copy: {}", rank->name(), move.report.no_precopy());
  if (why.empty()) co_return;
  if (rank->exited || !move.link->open()) throw std::runtime_error(why);
  // The new process has not taken it: its daemon knows why.
  proto::Envelope request;
  request.mutable_handover()->set_vip(rank->vip);
  request.mutable_handover()->set_generation(move.generation);
  co_await move.link->call(std::move(request), kHandoverLimit);
  throw std::runtime_error(why);
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
  move.report.set_pause_ms(since(move.freeze_at));
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
  move->report.set_total_ms(since(move->started));
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
  move.mailbox.reset();
  if (move.mirror > 0 && !move.mirror_exited)
    co_await wait_until(move.changed, Millis(5000), [&] { return move.mirror_exited; });
  if (move.mirror > 0 && !move.mirror_exited) ::kill(move.mirror, SIGKILL);
}

}  // namespace msocket::daemons
