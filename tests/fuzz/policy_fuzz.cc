// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A policy program's answer. Whatever it says, only moves that can be carried out come of it.
#include <set>
#include <stdexcept>

#include "src/tools/names.h"
#include "src/tools/policy.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using fuzz::must;

namespace {
ClusterState some_state() {
  ClusterState state;
  for (const char* name : {"a", "b", "c"}) {
    auto& node = state.nodes.emplace_back();
    node.set_name(name);
    node.set_cores(2);
    node.set_slots(name[0] == 'c' ? 1 : 0);
  }
  for (uint32_t rank = 0; rank < 4; ++rank) {
    auto& info = state.ranks.emplace_back();
    info.set_job("1");
    info.set_rank(rank);
    info.set_node(rank % 2 ? "a" : "b");
    if (rank == 3) info.set_why_not("it has threads");
  }
  return state;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ClusterState state = some_state();
  std::string answer(reinterpret_cast<const char*>(data), size);
  try {
    std::set<uint32_t> moved;
    int to_c = 0;
    for (const Move& move : parse_moves(answer, state)) {
      must(move.job == "1" && move.rank < 3 && moved.insert(move.rank).second, "a rank that can move moves once");
      must(find_node(state.nodes, move.to) && move.to != move.from, "to another node");
      to_c += move.to == "c";
    }
    must(to_c <= 1, "a node gets no more ranks than it has slots");
  } catch (const std::runtime_error& error) {
    must(std::string(error.what()).find('\n') == std::string::npos, "a refusal is one line");
  }
  try {
    auto [job, rank] = parse_rank_name(answer);
    must(parse_rank_name(rank_name(job, rank)) == std::make_pair(job, rank), "a rank's name is its own");
  } catch (const std::runtime_error&) {
  }
  return 0;
}
