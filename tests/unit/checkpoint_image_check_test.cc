// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/image_check.h"

#include <gtest/gtest.h>
#include <string.h>

#include <functional>

#include "src/checkpoint/maps.h"

namespace msocket::checkpoint {
namespace {

using wire::ImageRegion;
using wire::RegionKind;

class ImageCheck : public testing::Test {
 protected:
  ImageCheck() {
    header_.regions = 2;
    header_.context = 0x602100;
    header_.thread_list = 0x602400;
    header_.vdso_start = 0x7fff00000000;
    header_.vdso_end = 0x7fff00002000;
    regions_[0] = {.start = 0x400000, .end = 0x402000, .prot = 5, .kind = RegionKind::kFile, .path = "/bin/program"};
    regions_[1] = {.start = 0x602000, .end = 0x604000, .prot = 3, .kind = RegionKind::kAnon};
  }
  /// Whether the image is still good after the change.
  bool with(std::function<void()> change) {
    auto header = header_;
    ImageRegion before[2] = {regions_[0], regions_[1]};
    change();
    bool good = !why_not_header(header_) && good_regions(header_, regions_);
    header_ = header;
    memcpy(static_cast<void*>(regions_), before, sizeof before);
    return good;
  }
  wire::ImageHeader header_;
  ImageRegion regions_[2];
};

TEST_F(ImageCheck, AGoodOneIsGood) {
  EXPECT_TRUE(with([] {}));
  EXPECT_EQ(why_not_header(header_), nullptr);
}

TEST_F(ImageCheck, WhatMustNotBeMappedIsRefused) {
  EXPECT_FALSE(with([&] { header_.magic ^= 1; }));
  EXPECT_FALSE(with([&] { header_.page_size = 8192; }));
  EXPECT_NE((header_.regions = 1u << 30, why_not_header(header_)), nullptr);
  header_.regions = 2;
  EXPECT_FALSE(with([&] { regions_[1].start += 1; })) << "not whole pages";
  EXPECT_FALSE(with([&] { regions_[1].end = regions_[1].start; })) << "empty";
  EXPECT_FALSE(with([&] { regions_[1].start = 0x401000; })) << "over another";
  EXPECT_FALSE(with([&] { regions_[1].end = kUserEnd + kPageSize; })) << "the kernel's";
  EXPECT_FALSE(with([&] { regions_[1].end = kBootAddress + kPageSize; })) << "over the restorer";
  EXPECT_FALSE(with([&] { regions_[1].end = header_.vdso_start + kPageSize; })) << "over the vdso";
  EXPECT_FALSE(with([&] { memset(regions_[0].path, '/', sizeof regions_[0].path); })) << "a path without end";
  EXPECT_FALSE(with([&] { regions_[0].path[0] = 'b'; })) << "a path without beginning";
  EXPECT_FALSE(with([&] { regions_[1].kind = static_cast<RegionKind>(9); }));
  EXPECT_FALSE(with([&] { header_.context = 0x700000; })) << "to jump to nowhere";
  EXPECT_FALSE(with([&] { header_.tid_field = 0x604000 - 2; })) << "half outside";
  EXPECT_FALSE(with([&] { header_.thread_list = 0x604000 - 4; })) << "half outside";
  EXPECT_FALSE(with([&] { header_.threads = 0; }));
  EXPECT_FALSE(with([&] { header_.threads = kMostThreads + 1; }));
}

TEST_F(ImageCheck, RunsAreInsideOneRegionAndInOrder) {
  uint64_t from = 0;
  auto good = [&](uint64_t addr, uint64_t len) { return good_run({wire::ImagePart::kPages, addr, len}, &from, regions_, header_.regions); };
  EXPECT_TRUE(good(0x400000, 0x2000));
  EXPECT_FALSE(good(0x401000, 0x1000)) << "again";
  EXPECT_FALSE(good(0x602800, 0x1000)) << "not whole pages";
  EXPECT_FALSE(good(0x603000, 0x2000)) << "past the end";
  EXPECT_FALSE(good(0x603000, ~uint64_t{0} - 0xfff)) << "round the corner";
  EXPECT_FALSE(good(kBootAddress, 0x1000)) << "the restorer's stack";
  EXPECT_TRUE(good(0x603000, 0x1000));
}

TEST(Maps, ALineThatIsCutIsNone) {
  const std::string line = "7f3a10000000-7f3a10021000 rw-p 00001000 08:01 77                         /a/file\n";
  Map map;
  const char* p = line.data();
  ASSERT_TRUE(next_map(p, line.data() + line.size(), &map));
  EXPECT_EQ(map.start, 0x7f3a10000000u);
  EXPECT_EQ(map.end, 0x7f3a10021000u);
  EXPECT_EQ(map.offset, 0x1000u);
  EXPECT_EQ(std::string(map.path, map.path_length), "/a/file");
  EXPECT_EQ(p, line.data() + line.size());
  for (size_t size = 0; size < line.size(); ++size) {
    std::string part = line.substr(0, size);
    p = part.data();
    EXPECT_FALSE(next_map(p, part.data() + part.size(), &map)) << size;
  }
}

}  // namespace
}  // namespace msocket::checkpoint
