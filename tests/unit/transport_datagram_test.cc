// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The parts of a datagram socket that need no daemon: the header, its tag, the replay window, the cache of places.
#include <gtest/gtest.h>
#include <sodium.h>
#include <string.h>

#include <random>
#include <set>
#include <string>

#include "src/transport/place_cache.h"
#include "src/transport/replay.h"
#include "src/transport/siphash.h"
#include "src/wire/datagram.h"

namespace msocket::transport {
namespace {

std::string hex(const uint8_t* bytes) {
  char text[33];
  return sodium_bin2hex(text, sizeof text, bytes, 16);
}

TEST(DatagramHeader, TheLayoutIsTheOneOfTheDocument) {
  EXPECT_EQ(offsetof(wire::DatagramHeader, magic), 0u);
  EXPECT_EQ(offsetof(wire::DatagramHeader, version), 4u);
  EXPECT_EQ(offsetof(wire::DatagramHeader, from), 8u);
  EXPECT_EQ(offsetof(wire::DatagramHeader, to), 16u);
  EXPECT_EQ(offsetof(wire::DatagramHeader, from_gen), 24u);
  EXPECT_EQ(offsetof(wire::DatagramHeader, counter), 32u);
  EXPECT_EQ(offsetof(wire::DatagramHeader, tag), 40u);
  EXPECT_EQ(wire::kDatagramTagged, 40u);
  EXPECT_EQ(wire::kDatagramTagged % 8, 0u) << "siphash128 wants that of a head";
  EXPECT_EQ(wire::kMaxDatagramPayload, 65451u);
}

TEST(SipHash, TheReferencesVectors) {
  uint8_t key[16], data[64], tag[16];
  for (int i = 0; i < 16; ++i) key[i] = static_cast<uint8_t>(i);
  for (int i = 0; i < 64; ++i) data[i] = static_cast<uint8_t>(i);
  siphash128(key, nullptr, 0, data, 0, tag);
  EXPECT_EQ(hex(tag), "a3817f04ba25a8e66df67214c7550293");
  siphash128(key, nullptr, 0, data, 1, tag);
  EXPECT_EQ(hex(tag), "da87c1d86b99af44347659119b22fc45");
}

TEST(SipHash, TheSameAsLibsodiums) {
  std::mt19937 random(11);
  std::vector<uint8_t> data(70'000);
  for (auto& byte : data) byte = static_cast<uint8_t>(random());
  uint8_t key[16], tag[16], expected[16];
  for (size_t length = 0; length < 300; ++length) {
    for (auto& byte : key) byte = static_cast<uint8_t>(random());
    crypto_shorthash_siphashx24(expected, data.data(), length, key);
    for (size_t head : {size_t{0}, size_t{8}, size_t{40}}) {
      if (head > length) continue;
      siphash128(key, data.data(), head, data.data() + head, length - head, tag);
      EXPECT_EQ(hex(tag), hex(expected)) << length << " bytes, " << head << " of them apart";
    }
  }
  crypto_shorthash_siphashx24(expected, data.data(), data.size(), key);
  siphash128(key, data.data(), 40, data.data() + 40, data.size() - 40, tag);
  EXPECT_EQ(hex(tag), hex(expected));
}

struct Replay : testing::Test {
  ~Replay() override { table.clear(); }
  ReplayTable table;
  Endpoint a{0xf0000001, 5000}, b{0xf0000001, 5001};
};

TEST_F(Replay, OnceAndNotAgain) {
  EXPECT_TRUE(table.fresh(7, a, 100));
  EXPECT_TRUE(table.take(7, a, 100));
  EXPECT_FALSE(table.fresh(7, a, 100));
  EXPECT_TRUE(table.fresh(7, a, 101));
  EXPECT_TRUE(table.fresh(7, a, 99)) << "late, but not seen";
  EXPECT_TRUE(table.take(7, a, 99));
  EXPECT_FALSE(table.fresh(7, a, 99));
}

TEST_F(Replay, SourcesAndPortsAreApart) {
  table.take(7, a, 100);
  EXPECT_TRUE(table.fresh(7, b, 100));
  EXPECT_TRUE(table.fresh(8, a, 100));
}

TEST_F(Replay, TheWindowEnds) {
  constexpr uint64_t w = ReplayTable::kWindow;
  table.take(7, a, 10 * w);
  EXPECT_FALSE(table.fresh(7, a, 9 * w));
  EXPECT_TRUE(table.fresh(7, a, 9 * w + 1));
  table.take(7, a, 11 * w - 1);
  EXPECT_FALSE(table.fresh(7, a, 10 * w)) << "still remembered";
  table.take(7, a, 11 * w);
  EXPECT_FALSE(table.fresh(7, a, 10 * w)) << "too old to tell";
  EXPECT_TRUE(table.fresh(7, a, 10 * w + 1));
}

TEST_F(Replay, AgreesWithASetOfAllCounters) {
  std::mt19937_64 random(5);
  std::set<uint64_t> taken;
  uint64_t top = 1'700'000'000'000'000'000;
  for (int i = 0; i < 200'000; ++i) {
    uint64_t counter = top - 5000 + random() % 5100;
    if (random() % 5000 == 0) counter = top + 10 * ReplayTable::kWindow;
    bool expected = !taken.count(counter) && (taken.empty() || *taken.rbegin() < counter + ReplayTable::kWindow);
    ASSERT_EQ(table.fresh(7, a, counter), expected) << i;
    if (!expected) continue;
    ASSERT_TRUE(table.take(7, a, counter));
    taken.insert(counter);
    top = std::max(top, counter);
  }
}

TEST_F(Replay, ManySourcesAreRemembered) {
  for (uint32_t i = 0; i < 3000; ++i) ASSERT_TRUE(table.take(7, {0xf0000000 + i, 5000}, i));
  size_t forgotten = 0;
  for (uint32_t i = 0; i < 3000; ++i) forgotten += table.fresh(7, {0xf0000000 + i, 5000}, i);
  EXPECT_EQ(forgotten, 0u);
  EXPECT_EQ(table.sources(), 3000u);
}

TEST_F(Replay, TooManySourcesCostTheOldest) {
  for (uint32_t i = 0; i < 40'000; ++i) ASSERT_TRUE(table.take(7, {0xf0000000 + i, 5000}, 9));
  EXPECT_LE(table.sources(), ReplayTable::kMaxSources);
  EXPECT_FALSE(table.fresh(7, {0xf0000000 + 39'999, 5000}, 9));
}

TEST(PlaceCache, KeepsWhatWasUsedLast) {
  static PlaceCache cache;
  EXPECT_EQ(cache.find({0xf0000001, 7}), nullptr);
  PlaceEntry* entry = cache.make({0xf0000001, 7});
  entry->state = PlaceEntry::kKnown;
  entry->real = {0x0a000001, 40000};
  EXPECT_EQ(cache.make({0xf0000001, 7}), entry);
  EXPECT_EQ(cache.find({0xf0000001, 8}), nullptr);
  for (uint32_t i = 0; i < 100'000; ++i) {
    cache.make({0xf1000000 + i, 7})->state = PlaceEntry::kAsked;
    ASSERT_EQ(cache.find({0xf0000001, 7}), entry) << "used all the time, and pushed out";
  }
  EXPECT_EQ(entry->real, (Endpoint{0x0a000001, 40000}));
  cache.clear();
  EXPECT_EQ(cache.find({0xf0000001, 7}), nullptr);
}

}  // namespace
}  // namespace msocket::transport
