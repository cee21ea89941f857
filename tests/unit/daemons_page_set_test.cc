// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The books of a pre-copy: which pages the other side has, and what it was told of the layout.
#include "src/daemons/page_set.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "src/daemons/memory_layout.h"

namespace msocket::daemons {
namespace {

using Pages = PageSet::Run;
using wire::RegionKind;

std::set<uint64_t> pages_of(const PageSet& set) {
  std::set<uint64_t> pages;
  uint64_t last = 0;
  for (const Pages& run : set.runs()) {
    EXPECT_LT(run.start, run.end);
    if (!pages.empty()) {
      EXPECT_GT(run.start, last) << "neighbours are joined";
    }
    last = run.end;
    for (uint64_t page = run.start; page < run.end; ++page) pages.insert(page);
  }
  return pages;
}

TEST(PageSet, IsTheSetThatASetIs) {
  std::mt19937 random(7);
  PageSet set;
  std::set<uint64_t> expected;
  for (int round = 0; round < 500; ++round) {
    std::vector<Pages> runs;
    for (uint64_t at = random() % 20; at < 300; at += random() % 40) {
      uint64_t end = at + 1 + random() % 15;
      runs.push_back({at, end});
      at = end;
    }
    bool adds = random() % 2;
    if (adds) set.add(runs);
    else set.remove(runs);
    for (const Pages& run : runs)
      for (uint64_t page = run.start; page < run.end; ++page) adds ? (void)expected.insert(page) : (void)expected.erase(page);
    ASSERT_EQ(pages_of(set), expected) << "round " << round;
    uint64_t start = random() % 300, end = start + random() % 100, at = start;
    set.each_part(start, end, [&](uint64_t from, uint64_t to, bool inside) {
      EXPECT_EQ(from, at);
      at = to;
      for (uint64_t page = from; page < to; ++page) EXPECT_EQ(expected.count(page) == 1, inside) << page;
    });
    EXPECT_EQ(at, end);
    EXPECT_EQ(set.bytes(), expected.size());
  }
}

wire::ImageRegion region(uint64_t start, uint64_t end, RegionKind kind = RegionKind::kAnon, uint64_t offset = 0) {
  wire::ImageRegion made{.start = start, .end = end, .offset = offset, .prot = 3, .kind = kind};
  if (kind == RegionKind::kFile) made.path[0] = '/', made.path[1] = 'f';
  return made;
}

using Pieces = std::vector<std::pair<uint64_t, uint64_t>>;
Pieces places(const std::vector<wire::ImageRegion>& regions) {
  Pieces found;
  for (const auto& one : regions) found.emplace_back(one.start, one.end);
  return found;
}
Pieces places(const std::vector<Pages>& runs) {
  Pieces found;
  for (const auto& one : runs) found.emplace_back(one.start, one.end);
  return found;
}

TEST(MemoryLayout, TellsOnlyWhatIsNew) {
  MemoryLayout layout;
  EXPECT_EQ(places(layout.update({region(0x1000, 0x3000), region(0x8000, 0x9000, RegionKind::kFile, 0x2000)}).pieces),
            (Pieces{{0x1000, 0x3000}, {0x8000, 0x9000}}));
  EXPECT_TRUE(layout.update({region(0x1000, 0x3000), region(0x8000, 0x9000, RegionKind::kFile, 0x2000)}).pieces.empty());
  auto grown = layout.update({region(0x0, 0x5000), region(0x8000, 0xa000, RegionKind::kFile, 0x2000)});
  EXPECT_EQ(places(grown.pieces), (Pieces{{0x0, 0x1000}, {0x3000, 0x5000}, {0x9000, 0xa000}}));
  EXPECT_EQ(grown.pieces[2].offset, 0x3000u);
  EXPECT_TRUE(grown.gone.empty());
}

TEST(MemoryLayout, AHoleIsGoneAndTheRestStays) {
  MemoryLayout layout;
  layout.update({region(0x1000, 0x9000)});
  auto change = layout.update({region(0x1000, 0x2000), region(0x4000, 0x9000)});
  EXPECT_TRUE(change.pieces.empty());
  EXPECT_EQ(places(change.gone), (Pieces{{0x2000, 0x4000}}));
  EXPECT_EQ(places(layout.update({region(0x1000, 0x9000)}).pieces), (Pieces{{0x2000, 0x4000}}));
}

TEST(MemoryLayout, AnotherFileOrAnotherPartOfItIsNew) {
  MemoryLayout layout;
  layout.update({region(0x1000, 0x4000, RegionKind::kFile, 0)});
  EXPECT_EQ(places(layout.update({region(0x1000, 0x4000, RegionKind::kFile, 0x1000)}).pieces), (Pieces{{0x1000, 0x4000}}));
  auto change = layout.update({region(0x2000, 0x3000)});
  EXPECT_EQ(places(change.pieces), (Pieces{{0x2000, 0x3000}}));
  EXPECT_EQ(places(change.lost()), (Pieces{{0x1000, 0x2000}, {0x2000, 0x3000}, {0x3000, 0x4000}}));
}

TEST(MemoryLayout, TheHeapIsAnonymousMemory) {
  MemoryLayout layout;
  layout.update({region(0x1000, 0x2000), region(0x2000, 0x3000, RegionKind::kHeap)});
  EXPECT_TRUE(layout.update({region(0x1000, 0x3000, RegionKind::kHeap)}).pieces.empty());
  EXPECT_TRUE(layout.anonymous(0x1000, 0x3000));
  EXPECT_FALSE(layout.anonymous(0x2000, 0x4000));
}

TEST(MemoryLayout, WhatIsNotCopiedWhileItRuns) {
  MemoryAreas found = copyable_areas(
      "400000-402000 r-xp 00001000 fe:01 18                    /usr/bin/a program\n"
      "500000-501000 rw-p 00000000 fe:01 18                    /tmp/x (deleted)\n"
      "502000-503000 rw-p 00000000 00:05 18                    /dev/zero\n"
      "504000-505000 rw-p 00000000 00:00 0                     [heap]\n"
      "506000-507000 rw-s 00000000 00:00 0 \n"
      "508000-509000 rw-p 00000000 00:00 0 \n"
      "50a000-50b000 ---p 00000000 00:00 0 \n"
      "200000000000-200000001000 rw-p 00000000 00:00 0 \n"
      "7ffff7fc0000-7ffff7fc2000 r-xp 00000000 00:00 0         [vdso]\n"
      "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0         [stack]\n");
  EXPECT_EQ(places(found.areas),
            (Pieces{{0x400000, 0x402000}, {0x504000, 0x505000}, {0x508000, 0x509000}, {0x7ffffffde000, 0x7ffffffff000}}));
  EXPECT_EQ(found.vdso_start, 0x7ffff7fc0000u);
  EXPECT_EQ(found.areas[0].offset, 0x1000u);
  EXPECT_EQ(found.areas[3].kind, RegionKind::kStack);
}

}  // namespace
}  // namespace msocket::daemons
