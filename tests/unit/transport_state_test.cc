// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>

#include "src/transport/conn_state.h"
#include "src/transport/in_buffer.h"

namespace msocket::transport {
namespace {

using enum ConnState;

std::vector<ConnState> all_states() {
  std::vector<ConnState> states;
  for (unsigned i = 0; i < static_cast<unsigned>(kCount); ++i) states.push_back(static_cast<ConnState>(i));
  return states;
}

// The table of doc/architecture.md, written a second time and by hand: a changed table must be changed here and there.
TEST(ConnState, OnlyTheseTransitionsAreLegal) {
  const std::map<ConnState, std::set<ConnState>> expected = {
      {kFree, {kFresh, kEstablished, kAwaiting}},
      {kFresh, {kListening, kConnecting}},
      {kListening, {}},
      {kConnecting, {kEstablished, kFailed}},
      {kFailed, {kConnecting}},
      {kEstablished, {kAwaiting, kDraining}},
      {kAwaiting, {kDraining, kAwaiting}},
      {kDraining, {kEstablished, kBuffered, kDraining, kAwaiting}},
      {kBuffered, {kEstablished, kAwaiting, kDraining}},
  };
  for (ConnState from : all_states())
    for (ConnState to : all_states())
      EXPECT_EQ(legal(from, to), to == kFree || expected.at(from).count(to) == 1) << name(from) << " -> " << name(to);
}

TEST(ConnState, EveryStateHasANameOfItsOwn) {
  std::set<std::string> names;
  for (ConnState state : all_states()) names.insert(name(state));
  EXPECT_EQ(names.size(), static_cast<size_t>(kCount));
  EXPECT_EQ(names.count("?"), 0u);
}

TEST(ConnState, ALegalChangeLeavesALineInTheLog) {
  ConnState state = kFree;
  static uint64_t serial = 0;  // the log outlives a repetition of this test
  ConnId conn{7, ++serial};
  change_state(state, kFresh, 5, conn);
  EXPECT_EQ(state, kFresh);
  int found = 0;
  for (const Transition& line : transition_log)
    if (line.conn == conn) found += line.fd == 5 && line.from == kFree && line.to == kFresh;
  EXPECT_EQ(found, 1);
}

TEST(ConnState, TheLogKeepsTheLatest) {
  ConnState state = kFree;
  for (unsigned i = 0; i < 2 * kTransitionLog; ++i) {
    change_state(state, kFresh, static_cast<int>(i), {});
    change_state(state, kFree, static_cast<int>(i), {});
  }
  std::set<uint32_t> serials;
  for (const Transition& line : transition_log) serials.insert(line.serial);
  EXPECT_EQ(serials.size(), kTransitionLog);
  EXPECT_EQ(*serials.rbegin() - *serials.begin(), kTransitionLog - 1);
}

TEST(ConnStateDeathTest, AnIllegalChangeEndsTheProcessAndSaysWhich) {
  ConnState state = kListening;
  EXPECT_EXIT(change_state(state, kDraining, 3, {}), testing::ExitedWithCode(134),
              "impossible(.|\n)*listening(.|\n)*draining");
}

TEST(InBuffer, GivesBackWhatWasPutIn) {
  InBuffer buffer;
  EXPECT_EQ(buffer.size(), 0u);
  char* room = buffer.reserve(5);
  ASSERT_NE(room, nullptr);
  memcpy(room, "hello", 5);
  buffer.added(5);
  EXPECT_EQ(std::string(buffer.data(), buffer.size()), "hello");
  buffer.drop(2);
  EXPECT_EQ(std::string(buffer.data(), buffer.size()), "llo");
  buffer.drop(3);
  EXPECT_EQ(buffer.size(), 0u);
  buffer.clear();
}

TEST(InBuffer, KeepsTheOrderWhileItGrowsAndIsRead) {
  std::mt19937 random(4711);
  InBuffer buffer;
  unsigned written = 0, read = 0;
  constexpr unsigned kAll = 3'000'000;
  while (read < kAll) {
    unsigned n = std::min<unsigned>(random() % 70'000, kAll - written);
    char* room = buffer.reserve(n);
    ASSERT_NE(room, nullptr);
    for (unsigned i = 0; i < n; ++i) room[i] = static_cast<char>((written + i) * 31 >> 3);
    buffer.added(n);
    written += n;
    unsigned take = std::min<size_t>(random() % 80'000, buffer.size());
    if (written == kAll) take = buffer.size();
    for (unsigned i = 0; i < take; ++i)
      ASSERT_EQ(buffer.data()[i], static_cast<char>((read + i) * 31 >> 3)) << "byte " << read + i;
    if (take) buffer.drop(take);
    read += take;
    ASSERT_EQ(buffer.size(), written - read);
  }
  buffer.clear();
}

TEST(InBuffer, ReservedRoomThatIsNotUsedChangesNothing) {
  InBuffer buffer;
  memcpy(buffer.reserve(3), "abc", 3);
  buffer.added(3);
  buffer.reserve(1'000'000);
  buffer.reserve(10);
  EXPECT_EQ(std::string(buffer.data(), buffer.size()), "abc");
  buffer.clear();
  EXPECT_EQ(buffer.size(), 0u);
}

}  // namespace
}  // namespace msocket::transport
