// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What the source does while the rank still runs: the destination and the mirror are made ready, most of the memory is copied.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

#include "src/daemons/fault.h"
#include "src/daemons/machine.h"
#include "src/daemons/mover.h"
#include "src/daemons/namespaces.h"
#include "src/daemons/node.h"
#include "src/daemons/spawner.h"
#include "src/wire/port.h"

namespace msocket::daemons {

namespace {
constexpr Millis kPrepareLimit(20000);
constexpr int kMostLooks = 10;
constexpr Millis kStandbyLimit(250);  // a daemon that stands still costs so much, while the rank runs
}  // namespace

void Mover::describe(Move& move, proto::Prepare* prepare) {
  const Rank::Ptr& rank = move.rank;
  *prepare->mutable_start() = rank->spec;
  prepare->set_vip(rank->vip);
  prepare->set_generation(move.generation);
  // The file may have been renamed since; the name of today is what the other node must run.
  if (std::string program = program_of(rank->pid); !program.empty()) rank->program = program;
  move.program = rank->program;
  prepare->set_program(rank->program);
  for (auto& file : mapped_files(rank->pid)) *prepare->add_files() = file;
  prepare->set_memory(process_usage(rank->pid).resident);
  prepare->set_pid(rank->said_pid);
  prepare->set_threads(thread_count(rank->pid));
  note_clocks(*rank, prepare);
  prepare->set_cpu(own_cpu());
  *prepare->mutable_needs() = move.needs;
  prepare->set_from(node_.name());
  for (const auto& [ip, connections] : move.peers) {
    auto* peer = prepare->add_peers();
    peer->set_ip(ip);
    peer->set_opened(connections.opened);
    peer->set_accepted(connections.accepted);
  }
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

awaitable<void> Mover::start_mirror(Move& move) {
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
  move.mirror = (co_await start_process(node_.io.get_executor(), spec)).pid;
  watch_mirror(move);
}

void Mover::beside(Move& move, Aside Move::*aside, std::function<awaitable<void>(Move&)> work) {
  (move.*aside).under_way = true;
  auto over = [self = move.shared_from_this(), aside](const std::string& why) {
    ((*self).*aside) = {false, why};
    self->changed.notify();
  };
  asio::post(node_.io, [this, self = move.shared_from_this(), work = std::move(work), over] {
    if (self->off) return over("called off");
    spawn(
        node_.io.get_executor(),
        [self, work, over]() -> awaitable<void> {
          co_await work(*self);
          over({});
        },
        over);
  });
}

// What needs no answer to Prepare, but is not to hold that up. A stream takes three round trips: one that gets there before Prepare does
// is refused, and is tried again, as is a mirror.
void Mover::meanwhile(Move& move) {
  beside(move, &Move::opening_image, [this](Move& m) { return open_stream(m, wire::Purpose::kImage, &m.image); });
  beside(move, &Move::opening_stream, [this](Move& m) { return open_stream(m, wire::Purpose::kMirror, &m.stream); });
  beside(move, &Move::tracking, [](Move& m) { return m.precopy.track(m.rank); });
  beside(move, &Move::mirror_start, [this](Move& m) { return start_mirror(m); });
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
  for (int looks = 1;; ++looks) {
    proto::Envelope request;
    describe(move, request.mutable_prepare());
    if (looks == 1) meanwhile(move);
    std::string why;
    try {
      co_await move.link->call(std::move(request), kPrepareLimit);
      break;
    } catch (const std::exception& error) {
      why = error.what();
    }
    // It runs: what it needed when it was looked at (a temporary file that still had its name) it may need no more.
    std::string needed = move.needs.SerializeAsString();
    if (looks < kMostLooks && move.link->open()) co_await look_first(move);
    if (move.needs.SerializeAsString() == needed) throw std::runtime_error(why);
  }
  move.over("prepare");
  ask_for_arrival(move);
  ask_for_standby(move);
  co_await wait_open(move, move.opening_image, wire::Purpose::kImage, &move.image);
  co_await wait_open(move, move.opening_stream, wire::Purpose::kMirror, &move.stream);
  co_await wait_until(move.changed, kPrepareLimit, [&] { return !move.mirror_start.under_way; });
  if (move.mirror < 0) co_await start_mirror(move);
  move.over("connect");
}

void Mover::ask_for_arrival(Move& move) {
  beside(move, &Move::arrival, [](Move& m) -> awaitable<void> {
    proto::Envelope request;
    request.mutable_arrived()->set_vip(m.rank->vip);
    request.mutable_arrived()->set_generation(m.generation);
    co_await m.link->call(std::move(request), kPrepareLimit);
  });
}

awaitable<void> Mover::wait_for_arrival(Move& move) {
  co_await wait_until(move.changed, 2 * kPrepareLimit, [&] { return !move.arrival.under_way; });
  if (move.arrival.under_way) throw std::runtime_error("node " + move.to.name() + " does not say whether the program has begun");
  if (!move.arrival.why.empty()) throw std::runtime_error(move.arrival.why);
}

void Mover::ask_for_standby(Move& move) {
  if (move.peers.empty()) return;
  beside(move, &Move::standing_by, [](Move& m) -> awaitable<void> {
    proto::Envelope request;
    request.mutable_standby_over()->set_vip(m.rank->vip);
    request.mutable_standby_over()->set_generation(m.generation);
    proto::Envelope reply = co_await m.link->call(std::move(request));
    if (!m.frozen_asked) m.report.set_standby(reply.standby_over().count());
  });
}

// They are no condition: what does not stand by is opened later.
awaitable<void> Mover::wait_for_standby(Move& move) {
  co_await wait_until(move.changed, kStandbyLimit, [&] { return !move.standing_by.under_way || move.rank->exited; });
}

awaitable<void> Mover::wait_open(Move& move, const Aside& opening, wire::Purpose purpose, ScopedFd* stream) {
  co_await wait_until(move.changed, kForever, [&] { return !opening.under_way; });  // it has a limit of its own
  if (!*stream) co_await open_stream(move, purpose, stream);
}

awaitable<void> Mover::precopy(Move& move, uint64_t limit, Precopy::Tell tell) {
  const Rank::Ptr& rank = move.rank;
  fault_point("precopy");
  co_await wait_until(move.changed, kForever, [&] { return !move.tracking.under_way; });
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
  co_await wait_for_arrival(move);
  proto::Envelope request;
  request.mutable_handover()->set_vip(rank->vip);
  request.mutable_handover()->set_generation(move.generation);
  co_await move.link->call(std::move(request), kHandoverLimit);
  throw std::runtime_error(why);
}

}  // namespace msocket::daemons
