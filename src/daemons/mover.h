// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <string>

#include "src/daemons/rank.h"

namespace msocket::daemons {

class Node;

/// The source's side of a move (doc/migration.md): prepare, freeze, hand over, commit, drain. Until the commit every failure
/// leads back to a rank that goes on here.
class Mover {
 public:
  explicit Mover(Node& node) : node_(node) {}
  /// Throws std::runtime_error with one line that says why the rank stays (or, after a commit, what was lost).
  awaitable<proto::MoveReport> migrate(Rank::Ptr rank, std::string to);

 private:
  struct Move;
  struct Fence {
    bool committed = false;  ///< the master has the new generation; if not, it never will
    bool alive = false;      ///< and the node that has it
  };
  awaitable<void> prepare(Move& move);
  awaitable<void> freeze(Move& move);
  awaitable<void> hand_over(Move& move);
  awaitable<void> commit(Move& move);
  awaitable<void> drain(Move& move);
  awaitable<void> call_off(Move& move, std::string why);
  /// After a commit without an answer: may it have taken place? With move.lost if the rank is gone with it.
  awaitable<bool> ask_committed(Move& move);
  awaitable<Fence> ask_master(Move& move);
  /// The old process must not run and the new one is gone: the rank ends, and its home hears why.
  awaitable<void> lose(Move& move);
  /// The destination may have been registered for a moment: peers must find the rank here before it goes on.
  awaitable<void> register_again(Move& move);
  awaitable<void> end_mirror(Move& move);

  Node& node_;
};

}  // namespace msocket::daemons
