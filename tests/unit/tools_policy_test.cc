// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "src/tools/policy.h"

namespace msocket {
namespace {

proto::NodeInfo node(const std::string& name, uint32_t cores, uint32_t slots = 0) {
  proto::NodeInfo info;
  info.set_name(name);
  info.set_cores(cores);
  info.set_slots(slots);
  info.set_alive(true);
  return info;
}

proto::RankInfo rank(uint32_t number, const std::string& place, double share, uint64_t memory = 1) {
  proto::RankInfo info;
  info.set_job("1");
  info.set_rank(number);
  info.set_node(place);
  info.set_cpu_share(share);
  info.set_memory(memory);
  return info;
}

ClusterState crowded() {
  return {{node("a", 2), node("b", 2), node("c", 2, 1)},
          {rank(0, "a", 0.5, 30), rank(1, "a", 0.5, 20), rank(2, "a", 0.5, 10), rank(3, "a", 0.5, 40), rank(4, "c", 0.0)}};
}

std::string refusal(const std::string& answer, const ClusterState& state) {
  try {
    parse_moves(answer, state);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST(Greedy, MovesTheSmallestRanksOffAnOverloadedNode) {
  std::vector<Move> expected = {{"1", 2, "a", "b"}, {"1", 1, "a", "b"}};
  EXPECT_EQ(greedy_policy(crowded()), expected);
}

TEST(Greedy, LeavesAloneWhatAMoveWouldNotMakeBetterByAFullRank) {
  EXPECT_TRUE(greedy_policy({{node("a", 1), node("b", 1)}, {rank(0, "a", 1), rank(1, "a", 1), rank(2, "b", 1)}}).empty());
  EXPECT_TRUE(greedy_policy({{node("a", 4), node("b", 4)}, {rank(0, "a", 1), rank(1, "a", 1)}}).empty());
  EXPECT_TRUE(greedy_policy({{node("a", 1)}, {rank(0, "a", 1), rank(1, "a", 1)}}).empty());
}

TEST(Greedy, DoesNotMoveWhatCannotMove) {
  ClusterState state{{node("a", 1), node("b", 1)}, {rank(0, "a", 1), rank(1, "a", 1, 2)}};
  state.ranks[0].set_why_not("shared memory");
  std::vector<Move> expected = {{"1", 1, "a", "b"}};
  EXPECT_EQ(greedy_policy(state), expected);
  state.ranks[1].set_cpu_share(0);  // it waits: moving it changes nothing
  EXPECT_TRUE(greedy_policy(state).empty());
}

TEST(PolicyAnswer, TakesBothForms) {
  std::vector<Move> expected = {{"1", 0, "a", "b"}, {"1", 1, "a", "b"}};
  EXPECT_EQ(parse_moves("# moves\n 1:0 b\r\n\n{\"rank\": \"1:1\", \"to\": \"b\"}", crowded()), expected);
  EXPECT_TRUE(parse_moves("", crowded()).empty());
}

TEST(PolicyAnswer, RefusesEverythingElseByLine) {
  EXPECT_NE(refusal("1:0 b\n1:9 b", crowded()).find("line 2"), std::string::npos);
  EXPECT_NE(refusal("1:9 b", crowded()).find("no rank 1:9"), std::string::npos);
  EXPECT_NE(refusal("1:0 z", crowded()).find("no node 'z' (nodes: a b c)"), std::string::npos);
  EXPECT_NE(refusal("hello", crowded()), "");
  EXPECT_NE(refusal("1:0 b c", crowded()), "");
  EXPECT_NE(refusal("{\"rank\": 3}", crowded()), "");
  EXPECT_NE(refusal("{\"rank\"", crowded()), "");
  EXPECT_NE(refusal("1:0 a", crowded()).find("already"), std::string::npos);
  EXPECT_NE(refusal("1:0 b\n1:0 b", crowded()).find("twice"), std::string::npos);
  EXPECT_NE(refusal("1:0 c", crowded()).find("no free slot"), std::string::npos);
}

TEST(PolicyState, NamesEveryRankAndNode) {
  auto state = state_to_json(crowded());
  EXPECT_EQ(state["nodes"][1]["name"], "b");
  EXPECT_EQ(state["ranks"][3]["rank"], "1:3");
  EXPECT_EQ(state["ranks"][3]["can_move"], true);
}

}  // namespace
}  // namespace msocket
