// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A node: its ranks, their control channels, what it knows of other nodes.
#include <errno.h>
#include <poll.h>

#include <cstring>

#include "tests/sim/daemon.h"

namespace msocket::sim {

std::map<uint32_t, Place> master;
Counts counts;

bool Rank::send(const wire::ControlRecord& record, std::vector<FilePtr> files) {
  if (!channel) return false;
  PacketsPtr to = channel;
  for (;;) {
    long r = to->send({std::string(reinterpret_cast<const char*>(&record), sizeof record), files});
    if (r != -EAGAIN) return r == 0;
    sim.wait([&] { return to->events() & POLLOUT; });
  }
}

RankPtr Node::find(uint32_t vip) const {
  auto it = ranks.find(vip);
  return it == ranks.end() ? nullptr : it->second;
}

void Node::drop(const RankPtr& rank) {
  rank->state = RankState::kGone;
  auto it = ranks.find(rank->vip);
  if (it != ranks.end() && it->second == rank) ranks.erase(it);
  rank->channel = nullptr;
  rank->listeners.clear();
}

void Node::listen_to(const RankPtr& rank) {
  sim.spawn(name + " reads " + rank->process->name, [this, rank] {
    for (;;) {
      sim.wait([&] { return !rank->channel || (rank->channel->events() & POLLIN); });
      sim.sleep(sim.delay());
      Record record;
      if (!rank->channel) return;
      if (rank->channel->receive(&record) != 0) {  // the process has ended
        rank->exited = true;
        if (rank->state == RankState::kRunning) drop(rank);
        return;
      }
      wire::ControlRecord control;
      memcpy(&control, record.bytes.data(), sizeof control);
      on_record(rank, control, std::move(record.files));
    }
  });
}

void Node::on_record(const RankPtr& rank, const wire::ControlRecord& record, std::vector<FilePtr> files) {
  switch (record.type) {
    case wire::Control::kListen: rank->listeners[record.local.port] = std::dynamic_pointer_cast<Packets>(files.at(0)); break;
    case wire::Control::kUnlisten: rank->listeners.erase(record.local.port); break;
    case wire::Control::kConnect:
      ++rank->connecting;
      sim.spawn(name + " connect", [this, rank, record] {
        run_connect(rank, record);
        --rank->connecting;
      });
      break;
    case wire::Control::kInstalled: rank->installed[record.arg0] = record; break;
    case wire::Control::kFrozen: rank->frozen = record; break;
    case wire::Control::kReconnect: rank->reconnects.push_back(record); break;
    case wire::Control::kRestored: rank->restored = record; break;
    case wire::Control::kSettled: rank->settling = false; break;
    default: sim.fail("record %d from a process", static_cast<int>(record.type));
  }
}

std::optional<Place> Node::place_of(uint32_t vip) {
  if (auto it = known_.find(vip); it != known_.end()) return it->second;
  sim.sleep(sim.delay());
  auto it = master.find(vip);
  if (it == master.end()) return std::nullopt;
  Place place = it->second;
  sim.sleep(sim.delay());  // it may be old by now
  known_[vip] = place;
  return place;
}

void Node::wait_settled_place(const RankPtr& rank, Time limit) {
  sim.wait([&] { return rank->state != RankState::kMoving; }, limit);
}

}  // namespace msocket::sim
