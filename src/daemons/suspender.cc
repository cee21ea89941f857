// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The two halves of a move through a file (paper 8.1; doc/migration.md). In between, this node keeps the rank on its books:
// the mirror holds its connections and reads nothing, the daemon accepts for its listeners.
#include <signal.h>
#include <sodium.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "src/daemons/image_pump.h"
#include "src/daemons/mover.h"
#include "src/daemons/node.h"
#include "src/daemons/redirector.h"
#include "src/transport/channel.h"
#include "src/wire/mirror_frame.h"

namespace msocket::daemons {

namespace {
constexpr Millis kExitLimit(10000);
// The destination reads the whole file before it begins.
constexpr Millis kPrepareLimit(120000);

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }
}  // namespace

awaitable<proto::Suspend> Mover::suspend(Rank::Ptr rank, proto::Suspend request) {
  const std::string& path = request.path();
  if (std::string why = rank->why_not(); !why.empty())
    throw std::runtime_error("rank " + rank->name() + " cannot be suspended: " + why);
  if (rank->busy) throw std::runtime_error("rank " + rank->name() + " is moving");
  auto move = begin(rank, path);
  auto kept = std::make_unique<Suspended>();
  proto::Suspend reply;
  std::string why;
  try {
    if (path.empty() || path[0] != '/') throw std::runtime_error(path + ": not an absolute path");
    if (request.level() < 0 || request.level() > wire::kImageLevelMost) throw std::runtime_error("zstd has no such level");
    auto file = std::make_shared<wire::ImageFileWriter>(path, request.level());
    co_await look_first(*move);
    describe(*move, &kept->prepare);
    kept->prepare.set_generation(rank->generation);
    co_await start_mirror(*move);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) throw std::runtime_error("no descriptors left");
    move->image.reset(pair[0]);
    ScopedFd from_process(pair[1]);
    co_await freeze(*move);
    note_clocks(*rank, &kept->prepare);  // they stand still until it is resumed
    move->image.reset();  // the process has its own: the end of that is the image's
    kept->id.resize(16);
    randombytes_buf(kept->id.data(), kept->id.size());
    kept->handover.set_vip(rank->vip);
    kept->handover.set_generation(rank->generation);
    kept->connections = move->report.connections();
    kept->handover.set_connections(kept->connections);
    for (auto& state : rank->streams->snapshot()) *kept->handover.add_streams() = std::move(state);
    proto::ImageHead head;
    head.set_id(kept->id);
    *head.mutable_prepare() = kept->prepare;
    *head.mutable_handover() = kept->handover;
    head.set_node(node_.name());
    head.set_time(now());
    uint64_t bytes = co_await write_image_file(node_.io.get_executor(), file, head, std::move(from_process));
    reply.set_bytes(bytes);
    reply.set_file_bytes(file->size());
    if (rank->exited) throw std::runtime_error("it has ended");
    if (mirror_is_dead(*move)) throw std::runtime_error("its mirror has died");
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (!why.empty()) {
    co_await call_off(*move, why);
    throw std::runtime_error("rank " + rank->name() + " stays on node " + node_.name() + ": " + why);
  }
  kept->mailbox = std::move(move->mailbox);
  kept->mirror = move->mirror;
  rank->suspended = std::move(kept);
  rank->state = RankState::kSuspended;
  watch_suspended(rank);
  node_.redirector().leave(rank);
  wire::ControlRecord verdict;
  verdict.type = wire::Control::kCommit;
  rank->channel->send(verdict);
  bool ended = co_await wait_until(rank->changed, kExitLimit, [&] { return rank->exited; });
  if (!ended) spdlog::warn("rank {}: its process does not end", rank->name());
  rank->channel->close();
  node_.placement.give_back(rank->vip);
  rank->busy = false;
  rank->changed.notify();
  spdlog::info("rank {} is suspended to {}", rank->name(), path);
  reply.set_job(rank->spec.job());
  reply.set_rank(rank->spec.rank());
  reply.set_path(path);
  reply.set_node(node_.name());
  reply.set_connections(move->report.connections());
  reply.set_pause_ms(ms_since(move->freeze_at));
  co_return reply;
}

// Without its mirror its connections are gone, and the rank with them.
void Mover::watch_suspended(const Rank::Ptr& rank) {
  node_.watch(rank->suspended->mirror, [this, weak = rank->weak_from_this()](int) {
    auto r = weak.lock();
    if (r && r->state == RankState::kSuspended) node_.kill(r, SIGKILL);
  });
}

awaitable<proto::MoveReport> Mover::resume(Rank::Ptr rank, proto::Resume request) {
  if (!rank->suspended)
    throw std::runtime_error("rank " + rank->name() + " is not suspended: it is " + daemons::name(rank->state) + " on node " +
                             node_.name() + ", generation " + std::to_string(rank->generation));
  if (rank->busy) throw std::runtime_error("rank " + rank->name() + " is being resumed already");
  if (request.image_id() != rank->suspended->id)
    throw std::runtime_error(request.path() + ": is not the image that rank " + rank->name() + " was suspended to");
  auto move = begin(rank, request.to());
  move->resumes = true;
  move->mailbox = std::move(rank->suspended->mailbox);
  move->mirror = rank->suspended->mirror;
  move->freeze_at = move->started;
  move->report.set_connections(rank->suspended->connections + rank->suspended->held.size());
  rank->state = RankState::kMoving;
  watch_mirror(*move);
  std::string why;
  try {
    move->to = co_await node_.directory.node(request.to());
    co_await prepare_resume(*move, request.path());
    co_await hand_over(*move);
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (why.empty()) co_return co_await finish(move);
  co_await call_off(*move, why);
  throw std::runtime_error("rank " + rank->name() + " stays suspended: " + why);
}

awaitable<void> Mover::prepare_resume(Move& move, const std::string& path) {
  move.link = co_await node_.directory.link_to(move.to.address(), static_cast<uint16_t>(move.to.port()));
  proto::Envelope request;
  auto* prepare = request.mutable_prepare();
  *prepare = move.rank->suspended->prepare;
  prepare->set_generation(move.generation);
  prepare->set_from(node_.name());
  prepare->set_image(path);
  prepare->set_image_id(move.rank->suspended->id);
  co_await move.link->call(std::move(request), kPrepareLimit);
  ask_for_arrival(move);
  co_await wait_for_arrival(move);
  co_await open_stream(move, wire::Purpose::kMirror, &move.stream);
}

proto::Handover Mover::with_held(const Suspended& suspended, Generation generation) {
  proto::Handover handover = suspended.handover;
  handover.set_generation(generation);
  for (const auto& one : suspended.held) {
    auto* held = handover.add_held();
    held->set_conn_hi(one.record.conn.hi);
    held->set_conn_lo(one.record.conn.lo);
    held->set_port(one.port);
    held->set_peer_ip(one.record.peer.ip);
    held->set_peer_port(one.record.peer.port);
    held->set_peer_gen(one.record.peer_gen);
  }
  return handover;
}

void Mover::send_held(const Suspended& suspended, int mailbox) {
  for (const auto& one : suspended.held) {
    wire::MailboxRecord record{.type = wire::Mailbox::kConn, .conn = one.record.conn};
    int fd = one.fd.get();
    transport::send_record(mailbox, &record, sizeof record, &fd, 1);
    linger at_once{1, 0};  // the mirror sees to its end. If it has died ours is the last close: no end
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
}

// A resume has failed: all is as it was.
void Mover::back_to_suspended(Move& move) {
  const Rank::Ptr& rank = move.rank;
  rank->state = RankState::kSuspended;
  watch_suspended(rank);
  auto& signals = rank->held_signals;
  bool killed = std::find(signals.begin(), signals.end(), SIGKILL) != signals.end();
  if (killed || move.mirror_exited) node_.kill(rank, SIGKILL);
  rank->changed.notify();
}

}  // namespace msocket::daemons
