// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What msbalance decides with: the state of the cluster, the built-in policy, and the check of a foreign one's answer.
//
// The state, as a policy program reads it on its standard input (one JSON object, sizes in bytes):
//
//   { "nodes": [ { "name": "a", "cores": 2, "slots": 0, "ranks": 3, "load": 2.9,
//                  "memory_total": 8331640832, "memory_free": 5120000000 } ],
//     "ranks": [ { "rank": "1:3", "node": "a", "program": "heat", "state": "running", "generation": 2,
//                  "memory": 67108864, "cpu_seconds": 12.5, "cpu_share": 0.97, "can_move": true, "why_not": "" } ] }
//
// Only nodes that are alive are listed. "slots" 0: no limit; "cpu_share" 1.0: one core over the last seconds.
// The answer is one move per line, `1:3 c` or {"rank": "1:3", "to": "c"}; empty lines and lines that begin with '#' are
// skipped; nothing means no move. Moves are carried out in their order. One bad line and none is.
// No I/O here.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/wire/msocket.pb.h"

namespace msocket {

struct ClusterState {
  std::vector<proto::NodeInfo> nodes;  ///< alive
  std::vector<proto::RankInfo> ranks;
};

struct Move {
  std::string job;
  uint32_t rank = 0;
  std::string from, to;
  bool operator==(const Move&) const = default;
};

nlohmann::ordered_json state_to_json(const ClusterState& state);

/// Takes ranks off the most overloaded node (most runnable ranks per core, and more than one per core), to where there
/// are fewest per core, the smallest rank first, as long as each move makes the balance better by a full rank.
std::vector<Move> greedy_policy(const ClusterState& state);

/// Throws std::runtime_error naming the line and what is wrong with it: not a move, an unknown rank or node, a rank that
/// cannot move or is named twice, a node without a free slot, a rank that is there already.
std::vector<Move> parse_moves(const std::string& answer, const ClusterState& state);

}  // namespace msocket
