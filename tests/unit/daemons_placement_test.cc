// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/placement.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <map>
#include <set>

namespace msocket::daemons {
namespace {

TEST(Placement, KnowsTheMachine) {
  Placement placement(true);
  EXPECT_GE(placement.cores(), 1u);
  EXPECT_NE(placement.summary().find(" core"), std::string::npos) << placement.summary();
  EXPECT_EQ(placement.summary().find('\n'), std::string::npos);
}

TEST(Placement, EachGetsACoreOfItsOwnWhileThereAreCores) {
  Placement placement(true);
  std::set<std::string> used;
  for (uint32_t key = 1; key <= placement.cores(); ++key) {
    cpu_set_t set = placement.take(key);
    EXPECT_GE(CPU_COUNT(&set), 1);
    EXPECT_NE(placement.where(key), "");
    EXPECT_TRUE(used.insert(placement.where(key)).second) << placement.where(key) << " twice";
  }
}

TEST(Placement, BeyondThatTheyShareEvenly) {
  Placement placement(true);
  std::map<std::string, int> users;
  for (uint32_t key = 0; key < 3 * placement.cores(); ++key) {
    placement.take(key);
    ++users[placement.where(key)];
  }
  EXPECT_EQ(users.size(), placement.cores());
  for (auto& [where, count] : users) EXPECT_EQ(count, 3) << "core " << where;
}

TEST(Placement, AFreedCoreIsTheNextToBeUsed) {
  Placement placement(true);
  for (uint32_t key = 0; key < placement.cores(); ++key) placement.take(key);
  std::string freed = placement.where(0);
  placement.give_back(0);
  EXPECT_EQ(placement.where(0), "");
  placement.take(1000);
  EXPECT_EQ(placement.where(1000), freed);
}

TEST(Placement, TakingAgainDoesNotCountTwice) {
  Placement placement(true);
  for (int i = 0; i < 10; ++i) placement.take(7);
  std::map<std::string, int> users;
  ++users[placement.where(7)];
  for (uint32_t key = 100; key < 100 + 2 * placement.cores() - 1; ++key) {
    placement.take(key);
    ++users[placement.where(key)];
  }
  for (auto& [where, count] : users) EXPECT_EQ(count, 2) << "core " << where;
}

TEST(Placement, TheSetNamesProcessorsOfThisMachine) {
  Placement placement(true);
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  cpu_set_t set = placement.take(1), common;
  CPU_AND(&common, &allowed, &set);
  EXPECT_GE(CPU_COUNT(&common), 1) << "core " << placement.where(1);
}

TEST(Placement, WithoutBindingNobodyIsBound) {
  Placement placement(false);
  cpu_set_t set = placement.take(1);
  EXPECT_EQ(CPU_COUNT(&set), 0);
  EXPECT_EQ(placement.where(1), "");
  placement.give_back(1);
}

}  // namespace
}  // namespace msocket::daemons
