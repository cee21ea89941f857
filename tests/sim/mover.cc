// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The stages of a move (doc/migration.md), the source's side and the destination's. At any point it may be called off.
#include <cstring>

#include "src/mirror/mirror.h"
#include "tests/sim/daemon.h"
#include "tests/sim/program.h"

namespace msocket::sim {

namespace {
constexpr Time kSettleLimit = 30 * kSecond, kFreezeLimit = 30 * kSecond, kDrainLimit = 60 * kSecond;
constexpr int kHighFd = 600;
}  // namespace

struct Node::Move {
  RankPtr rank, arriving;
  Node* to = nullptr;
  PacketsPtr mailbox;
  StreamPtr image, stream;  ///< the new process's ends
  StreamPtr mirror_stream;  ///< the mirror's end, until kGo
  std::shared_ptr<Proc> mirror, old;
  std::shared_ptr<bool> mirror_exited = std::make_shared<bool>(false);
  bool frozen_asked = false;
};

void Node::move(RankPtr rank, Node* to) {
  if (rank->busy || rank->state != RankState::kRunning || to == this) return;
  Move move;
  move.rank = rank;
  move.to = to;
  rank->busy = true;
  sim.trace("move of %s: %s to %s", rank->process->name.c_str(), name.c_str(), to->name.c_str());
  if (prepare(move) && freeze(move) && hand_over(move)) {
    commit(move);
    drain(move);
  } else {
    call_off(move);
  }
}

bool Node::prepare(Move& move) {
  const RankPtr& rank = move.rank;
  sim.sleep(sim.delay());
  if (move.to->find(rank->vip)) return false;  // its former self is not quite gone from there
  move.arriving = std::make_shared<Rank>();
  move.arriving->process = rank->process;
  move.arriving->vip = rank->vip;
  move.arriving->generation = std::max(rank->generation + 1, rank->next_generation);
  move.arriving->state = RankState::kArriving;
  move.to->ranks[rank->vip] = move.arriving;
  sim.sleep(sim.delay());
  PacketsPtr mailbox;
  std::tie(move.image, std::ignore) = make_tcp();
  std::tie(move.mirror_stream, move.stream) = make_tcp();
  std::tie(move.mailbox, mailbox) = make_packets();
  move.mirror = std::make_shared<Proc>(rank->process->name + "'s mirror");
  move.mirror->table[3] = {mailbox, true};
  sim.spawn(
      move.mirror->name,
      [proc = move.mirror, exited = move.mirror_exited] {
        try {
          mirror::Mirror(ScopedFd(3)).run();
        } catch (const Killed&) {
        }
        if (!proc->killed && !proc->table.empty()) sim.fail("a mirror leaves %zu descriptors", proc->table.size());
        proc->close_all();
        *exited = true;
        sim.trace("ends%s", proc->killed ? ", killed" : "");
      },
      move.mirror.get());
  if (sim.random.one_in(60)) move.mirror->killed = true;
  return !sim.random.one_in(40);
}

bool Node::freeze(Move& move) {
  const RankPtr& rank = move.rank;
  bool still = sim.wait([&] { return rank->connecting == 0 || rank->exited; }, kFreezeLimit);
  if (!still) sim.fail("%s does not leave connect()", rank->process->name.c_str());
  if (rank->exited) return false;
  rank->state = RankState::kMoving;
  rank->frozen.reset();
  wire::ControlRecord record;
  record.type = wire::Control::kFreeze;
  move.frozen_asked = true;
  if (!rank->send(record, {std::exchange(move.image, nullptr), move.mailbox})) return false;
  if (sim.random.one_in(40)) {  // called off at any time, whether it stands still or not
    sim.sleep(sim.delay());
    return false;
  }
  if (!sim.wait([&] { return rank->frozen || rank->exited; }, kFreezeLimit))
    sim.fail("%s does not come to a stop", rank->process->name.c_str());
  if (rank->exited || !rank->frozen || rank->frozen->error) return false;
  hand_over_undecided(rank, move.mailbox);
  return !sim.random.one_in(12);
}

bool Node::hand_over(Move& move) {
  sim.sleep(sim.delay());
  if (move.rank->exited || *move.mirror_exited) return false;
  Process* p = move.rank->process;
  if (move.mirror->killed) may_be_lost(p);  // it dies between the last look and kGo
  move.old = p->proc;
  Arrival arrival;
  arrival.proc = std::make_shared<Proc>(p->name + " on " + move.to->name);
  arrival.proc->process = p;
  auto [ours, theirs] = make_packets();
  arrival.proc->table[wire::kControlFd] = {theirs, true};
  arrival.mirror_fd = arrival.proc->put(std::exchange(move.stream, nullptr), kHighFd, true);
  arrival.start.type = wire::Control::kStart;
  arrival.start.local = {move.rank->vip, 0, 0};
  arrival.start.local_gen = move.arriving->generation;
  strncpy(arrival.start.text, move.to->name.c_str(), 63);
  move.arriving->channel = ours;
  move.to->listen_to(move.arriving);
  p->arrival = std::move(arrival);
  sim.wait([&] { return move.arriving->restored.has_value(); });
  return true;
}

void Node::arrive(const RankPtr& rank) {
  master[rank->vip] = {this, rank->generation};
  sim.sleep(sim.delay());
  rank->state = RankState::kRunning;
  rank->settling = true;
  wire::ControlRecord resume;
  resume.type = wire::Control::kResume;
  rank->send(resume);
  departed_.erase(rank->vip);
  known_[rank->vip] = {this, rank->generation};
  reconnect_all(rank);
}

void Node::commit(Move& move) {
  const RankPtr& rank = move.rank;
  sim.sleep(sim.delay());
  move.to->arrive(move.arriving);
  ++counts.moves;
  sim.sleep(sim.delay());
  wire::ControlRecord verdict;
  verdict.type = wire::Control::kCommit;
  rank->send(verdict);
  sim.spawn(rank->process->name + " (old)", [rank, old = move.old] {
    sim.sleep(sim.delay());
    for (auto& [fd, entry] : old->table)  // src/checkpoint/save.cc, close_by_reset()
      if (auto stream = std::dynamic_pointer_cast<Stream>(entry.file); stream)
        reset_when_closed(*stream);
    old->close_all();
    rank->exited = true;
  });
  wire::MailboxRecord go{.type = wire::Mailbox::kGo};
  leave(rank);
  move.mailbox->send({std::string(reinterpret_cast<char*>(&go), sizeof go), {std::exchange(move.mirror_stream, nullptr)}});
  move.mailbox.reset();
  departed_[rank->vip] = known_[rank->vip] = {move.to, move.arriving->generation};
  if (move.mirror->killed || sim.random.one_in(25)) {
    sim.sleep(sim.delay());
    if (!*move.mirror_exited || move.mirror->killed) {
      ++counts.mirrors_killed;
      sim.trace("%s is killed", move.mirror->name.c_str());
      may_be_lost(rank->process);
      move.mirror->killed = true;
    }
  }
}

void Node::drain(Move& move) {
  sim.wait([&] { return move.rank->exited; });
  drop(move.rank);
  // Nobody waits for it; but as long as it stays here and runs it comes to have all its connections.
  const RankPtr& there = move.arriving;
  auto settled = [&] { return !there->settling || there->exited || there->state != RankState::kRunning; };
  if (!sim.wait(settled, kSettleLimit)) sim.fail("%s does not settle", there->process->name.c_str());
  if (!sim.wait([&] { return *move.mirror_exited; }, kDrainLimit)) sim.fail("%s does not end", move.mirror->name.c_str());
}

void Node::call_off(Move& move) {
  const RankPtr& rank = move.rank;
  ++counts.called_off;
  sim.trace("move of %s is called off", rank->process->name.c_str());
  if (move.frozen_asked) {
    wire::ControlRecord verdict;
    verdict.type = wire::Control::kRollback;
    rank->send(verdict);
  }
  move.mailbox.reset();
  if (move.mirror && !sim.wait([&] { return *move.mirror_exited; }, 5 * kSecond)) move.mirror->killed = true;
  if (move.arriving) {
    sim.sleep(sim.delay());
    move.to->drop(move.arriving);
  }
  rank->busy = false;
  if (rank->state == RankState::kMoving) rank->state = RankState::kRunning;
  if (rank->exited) drop(rank);
}

}  // namespace msocket::sim
