// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/address_table.h"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

#include "src/util/text.h"

namespace msocket::daemons {
namespace {

using std::chrono::seconds;

constexpr uint32_t kNetwork = 0xf0000000, kMask16 = 0xffff0000, kMask29 = 0xfffffff8;
const AddressTable::Time kStart{};

proto::AllocAddress wanted(uint32_t rank, uint32_t vip = 0, const std::string& node = "a") {
  proto::AllocAddress request;
  request.set_job("1");
  request.set_rank(rank);
  request.set_node(node);
  request.set_wanted_vip(vip);
  return request;
}

proto::AddressInfo at(uint32_t vip, uint32_t generation, const std::string& node, uint32_t rank = 0) {
  proto::AddressInfo address;
  address.set_vip(vip);
  address.set_generation(generation);
  address.set_node(node);
  address.set_job("1");
  address.set_rank(rank);
  return address;
}

proto::Fence fence(uint32_t vip, uint32_t generation, uint32_t rank = 3, const std::string& job = "1") {
  proto::Fence request;
  request.set_vip(vip);
  request.set_generation(generation);
  request.set_job(job);
  request.set_rank(rank);
  return request;
}

proto::ReleaseAddress released(uint32_t vip, uint32_t generation, bool called_off = false) {
  proto::ReleaseAddress request;
  request.set_vip(vip);
  request.set_generation(generation);
  request.set_called_off(called_off);
  return request;
}

std::string error_of(auto action) {
  try {
    action();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST(AddressTable, GivesEachRankAnAddressOfItsOwnInTheSubnet) {
  AddressTable table(kNetwork, kMask16);
  std::set<uint32_t> seen;
  for (uint32_t rank = 0; rank < 1000; ++rank) {
    proto::AddressInfo address = table.allocate(wanted(rank), kStart);
    EXPECT_EQ(address.vip() & kMask16, kNetwork);
    EXPECT_EQ(address.generation(), 0u);
    EXPECT_EQ(address.rank(), rank);
    EXPECT_EQ(address.node(), "a");
    EXPECT_TRUE(seen.insert(address.vip()).second) << ip_text(address.vip()) << " twice";
  }
  EXPECT_EQ(table.size(), 1000u);
}

TEST(AddressTable, ASmallSubnetIsUsedUpToItsLastAddressAndNoFurther) {
  AddressTable table(kNetwork, kMask29);  // .1 to .6: not the network's own address, not the broadcast one
  std::set<uint32_t> seen;
  for (uint32_t rank = 0; rank < 6; ++rank) seen.insert(table.allocate(wanted(rank), kStart).vip());
  EXPECT_EQ(seen.size(), 6u);
  EXPECT_EQ(*seen.begin(), kNetwork + 1);
  EXPECT_EQ(*seen.rbegin(), kNetwork + 6);
  EXPECT_NE(error_of([&] { table.allocate(wanted(6), kStart); }), "");
  table.release(released(kNetwork + 3, 0), kStart);
  EXPECT_EQ(table.allocate(wanted(7), kStart).vip(), kNetwork + 3);
}

TEST(AddressTable, AFreedAddressIsNotGivenOutAgainAtOnce) {
  AddressTable table(kNetwork, kMask16);
  uint32_t first = table.allocate(wanted(0), kStart).vip();
  table.release(released(first, 0), kStart);
  EXPECT_NE(table.allocate(wanted(1), kStart).vip(), first);
}

TEST(AddressTable, AWantedAddressIsGivenIfItIsFree) {
  AddressTable table(kNetwork, kMask16);
  EXPECT_EQ(table.allocate(wanted(0, kNetwork + 77), kStart).vip(), kNetwork + 77);
  EXPECT_NE(error_of([&] { table.allocate(wanted(1, kNetwork + 77), kStart); }).find("240.0.0.77"), std::string::npos);
  EXPECT_NE(error_of([&] { table.allocate(wanted(1, 0xf0010001), kStart); }).find("240.1.0.1"), std::string::npos);
  for (uint32_t rank = 0; rank < 200; ++rank) EXPECT_NE(table.allocate(wanted(rank), kStart).vip(), kNetwork + 77);
}

TEST(AddressTable, ANewerGenerationWins) {
  AddressTable table(kNetwork, kMask16);
  uint32_t vip = table.allocate(wanted(3), kStart).vip();
  EXPECT_TRUE(table.put(at(vip, 1, "b", 3), kStart));
  EXPECT_EQ(table.find(vip)->node(), "b");
  EXPECT_FALSE(table.put(at(vip, 0, "a", 3), kStart)) << "the old node is late";
  EXPECT_EQ(table.find(vip)->node(), "b");
  EXPECT_TRUE(table.put(at(vip, 1, "b", 3), kStart)) << "the same again renews it";
  EXPECT_FALSE(table.put(at(vip, 1, "c", 3), kStart)) << "one generation is at one place";
  EXPECT_TRUE(table.put(at(vip, 5, "c", 3), kStart));
  EXPECT_EQ(table.find(vip)->node(), "c");
  EXPECT_EQ(table.find(vip)->generation(), 5u);
}

TEST(AddressTable, AFencedGenerationNeverComes) {
  AddressTable table(kNetwork, kMask16);
  uint32_t vip = table.allocate(wanted(3), kStart).vip();
  EXPECT_FALSE(table.fence(fence(vip, 1), kStart)) << "not registered yet";
  EXPECT_FALSE(table.put(at(vip, 1, "b", 3), kStart));
  EXPECT_TRUE(table.put(at(vip, 0, "a", 3), kStart)) << "the one that stays renews its own";
  EXPECT_FALSE(table.put(at(vip, 1, "b", 3), kStart)) << "and the fence still stands";
  EXPECT_EQ(table.find(vip)->node(), "a");
  EXPECT_TRUE(table.put(at(vip, 2, "c", 3), kStart)) << "the next move has another generation";
  EXPECT_EQ(table.find(vip)->node(), "c");
}

TEST(AddressTable, AFenceThatComesTooLateSaysSo) {
  AddressTable table(kNetwork, kMask16);
  uint32_t vip = table.allocate(wanted(3), kStart).vip();
  table.put(at(vip, 1, "b", 3), kStart);
  EXPECT_TRUE(table.fence(fence(vip, 1), kStart));
  EXPECT_TRUE(table.put(at(vip, 1, "b", 3), kStart)) << "what has come stays";
  EXPECT_FALSE(table.fence(fence(vip + 1, 1), kStart)) << "nobody there";
}

// Otherwise the source would let the old process go on, which has run and ended where it went.
TEST(AddressTable, AFenceBehindTheEndSaysThatItCame) {
  AddressTable table(kNetwork, kMask16);
  uint32_t vip = table.allocate(wanted(3), kStart).vip();
  table.put(at(vip, 1, "b", 3), kStart);
  table.release(released(vip, 1), kStart);
  EXPECT_TRUE(table.fence(fence(vip, 1), kStart)) << "it ran on b and has ended";
  EXPECT_FALSE(table.fence(fence(vip, 2), kStart)) << "a later move did not come about";
  table.allocate(wanted(9, vip), kStart);
  EXPECT_TRUE(table.fence(fence(vip, 1), kStart)) << "the address is another rank's by now";
  EXPECT_TRUE(table.put(at(vip, 1, "c", 9), kStart)) << "which is not concerned";
  table.clean(kStart + seconds(119), seconds(60));
  EXPECT_TRUE(table.fence(fence(vip, 1), kStart + seconds(119))) << "as long as a source may ask";
  table.clean(kStart + seconds(1000), seconds(60));
  EXPECT_FALSE(table.fence(fence(vip, 1), kStart + seconds(1000))) << "not for ever";
}

TEST(AddressTable, AGenerationThatWasCalledOffDidNotRun) {
  AddressTable table(kNetwork, kMask16);
  uint32_t vip = table.allocate(wanted(3), kStart).vip();
  table.put(at(vip, 1, "b", 3), kStart);
  table.release(released(vip, 1, true), kStart);
  EXPECT_FALSE(table.fence(fence(vip, 1), kStart));
  EXPECT_FALSE(table.put(at(vip, 1, "b", 3), kStart)) << "and from now on it never will";
  EXPECT_TRUE(table.put(at(vip, 0, "a", 3), kStart)) << "the one that stays";
}

TEST(AddressTable, AFenceHoldsForAnAddressThatATableDoesNotKnow) {
  AddressTable restarted(kNetwork, kMask16);
  EXPECT_FALSE(restarted.fence(fence(kNetwork + 9, 4, 2), kStart));
  EXPECT_FALSE(restarted.put(at(kNetwork + 9, 4, "c", 2), kStart)) << "or it would run twice";
  EXPECT_TRUE(restarted.put(at(kNetwork + 9, 3, "a", 2), kStart));
}

TEST(AddressTable, AnEmptyTableBelievesWhatTheDaemonsSay) {
  AddressTable restarted(kNetwork, kMask16);
  EXPECT_TRUE(restarted.put(at(kNetwork + 9, 4, "c", 2), kStart));
  EXPECT_EQ(restarted.find("1", 2)->vip(), kNetwork + 9);
  EXPECT_FALSE(restarted.put(at(0xf0020001, 0, "a"), kStart)) << "another subnet's";
  EXPECT_NE(error_of([&] { restarted.allocate(wanted(0, kNetwork + 9), kStart); }), "");
}

TEST(AddressTable, FindsByAddressAndByRank) {
  AddressTable table(kNetwork, kMask16);
  uint32_t vip = table.allocate(wanted(3), kStart).vip();
  ASSERT_TRUE(table.find(vip));
  EXPECT_EQ(table.find(vip)->rank(), 3u);
  ASSERT_TRUE(table.find("1", 3));
  EXPECT_EQ(table.find("1", 3)->vip(), vip);
  EXPECT_FALSE(table.find("2", 3));
  EXPECT_FALSE(table.find("1", 4));
  EXPECT_FALSE(table.find(vip + 1));
}

TEST(AddressTable, OnlyTheNewestHolderReleases) {
  AddressTable table(kNetwork, kMask16);
  uint32_t vip = table.allocate(wanted(0), kStart).vip();
  table.put(at(vip, 2, "b"), kStart);
  table.release(released(vip, 1), kStart);
  EXPECT_TRUE(table.find(vip)) << "it has moved on";
  table.release(released(vip, 2), kStart);
  EXPECT_FALSE(table.find(vip));
  table.release(released(vip, 9), kStart);  // of one that is not there: nothing
}

TEST(AddressTable, ForgetsWhatNobodyVerifies) {
  AddressTable table(kNetwork, kMask16);
  uint32_t kept = table.allocate(wanted(0), kStart).vip(), lost = table.allocate(wanted(1), kStart).vip();
  EXPECT_EQ(table.clean(kStart + seconds(60), seconds(60)), 0u);
  table.put(at(kept, 0, "a"), kStart + seconds(50));
  EXPECT_EQ(table.clean(kStart + seconds(61), seconds(60)), 1u);
  EXPECT_TRUE(table.find(kept));
  EXPECT_FALSE(table.find(lost));
}

TEST(AddressTable, ARefusedRegistrationRenewsNothing) {
  AddressTable table(kNetwork, kMask16);
  uint32_t vip = table.allocate(wanted(0), kStart).vip();
  table.put(at(vip, 2, "b"), kStart);
  EXPECT_FALSE(table.put(at(vip, 1, "a"), kStart + seconds(50)));
  EXPECT_EQ(table.clean(kStart + seconds(61), seconds(60)), 1u);
}

}  // namespace
}  // namespace msocket::daemons
