// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What stands against a move, found out before anything is begun: by asking the process itself, and the destination.
#include <stdexcept>

#include "src/daemons/estimate.h"
#include "src/daemons/look.h"
#include "src/daemons/mover.h"
#include "src/daemons/node.h"

namespace msocket::daemons {

namespace {
constexpr Millis kAskLimit(20000);
}

awaitable<void> Mover::look_first(Move& move) {
  LookReport look = co_await look_at(node_.io.get_executor(), move.rank, false);
  if (move.rank->exited) throw std::runtime_error("it has ended");
  // One that does not answer may still come to its freeze, which is what counts; that has a limit of its own.
  if (!look.reasons.empty()) throw std::runtime_error(look.reasons.front());
  move.needs = look.needs;
  move.peers = std::move(look.peers);
}

awaitable<void> Mover::why(Rank::Ptr rank, proto::Why* why) {
  if (why->to() == node_.name()) why->add_reasons("rank " + rank->name() + " is on node " + why->to() + " already");
  if (std::string reason = rank->why_not(); !reason.empty()) {
    why->add_reasons(reason);
    co_return;
  }
  if (rank->busy) {
    why->add_reasons("rank " + rank->name() + " is moving already");
    co_return;
  }
  LookReport look = co_await look_at(node_.io.get_executor(), rank, true);
  if (rank->exited) throw std::runtime_error("rank " + rank->name() + " has ended");
  if (!look.answered) why->add_reasons("it does not answer: it is stopped, or blocks the signal 60");
  for (const auto& reason : look.reasons) why->add_reasons(reason);
  Move move(node_.io.get_executor());
  move.rank = rank;
  move.generation = rank->generation + 1;
  move.needs = look.needs;
  std::string failed;
  try {
    move.to = co_await node_.directory.node(why->to());
    proto::Envelope request;
    describe(move, request.mutable_why_not_here()->mutable_prepare());
    if (why->to() != node_.name()) {
      Link::Ptr link = co_await node_.directory.link_to(move.to.address(), static_cast<uint16_t>(move.to.port()));
      proto::Envelope reply = co_await link->call(std::move(request), kAskLimit);
      for (const auto& reason : reply.why_not_here().reasons()) why->add_reasons(reason);
    }
  } catch (const std::exception& error) {
    failed = move.named(error.what());
  }
  if (!failed.empty()) why->add_reasons(failed);
  Estimate estimate = estimate_move(look.bytes, precopy_wanted());
  why->set_bytes(look.bytes);
  why->set_rounds(estimate.rounds);
  why->set_pause_ms(estimate.pause_ms);
}

}  // namespace msocket::daemons
