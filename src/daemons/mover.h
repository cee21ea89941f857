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
  awaitable<void> prepare(Move& move);
  awaitable<void> freeze(Move& move);
  awaitable<void> hand_over(Move& move);
  awaitable<void> commit(Move& move);
  /// Until the old node holds nothing of it any more.
  awaitable<void> drain(std::shared_ptr<Move> move);
  awaitable<void> call_off(Move& move, std::string why);
  awaitable<bool> ask_committed(Move& move);

  Node& node_;
};

}  // namespace msocket::daemons
