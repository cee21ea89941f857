// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/look.h"

#include <gtest/gtest.h>

#include <sstream>

#include "src/daemons/memory_marks.h"
#include "src/daemons/processor.h"

namespace msocket::daemons {
namespace {

TEST(Look, ReasonsFilesAndPages) {
  LookReport report;
  parse_look("no descriptor 7 is a pipe to another process\nfile 100002 12 /tmp/a file\nfile 200000 0 /home\nno it has threads\npages 8192 3\n",
             &report);
  ASSERT_EQ(report.reasons.size(), 2u);
  EXPECT_EQ(report.reasons[0], "descriptor 7 is a pipe to another process");
  EXPECT_EQ(report.reasons[1], "it has threads");
  ASSERT_EQ(report.needs.files_size(), 2);
  EXPECT_EQ(report.needs.files(0).path(), "/tmp/a file");
  EXPECT_EQ(report.needs.files(0).flags(), 0100002u);
  EXPECT_EQ(report.needs.files(0).size(), 12u);
  EXPECT_EQ(report.bytes, 8192u);
  EXPECT_EQ(report.regions, 3u);
}

TEST(Look, PeersByAddressAndEnd) {
  LookReport report;
  parse_look("peer 4026531841 1\npeer 4026531841 0\npeer 4026531842 0\npeer 4026531841 1\npeer x 1\npeer 7\n", &report);
  ASSERT_EQ(report.peers.size(), 2u);
  EXPECT_EQ(report.peers[0xf0000001].opened, 2u);
  EXPECT_EQ(report.peers[0xf0000001].accepted, 1u);
  EXPECT_EQ(report.peers[0xf0000002].opened, 0u);
  EXPECT_EQ(report.peers[0xf0000002].accepted, 1u);
}

TEST(Look, WhatIsNoReportSaysNothing) {
  LookReport report;
  parse_look("file\nfile x y\nfile 1\npages\n\n\x01\x02nonsense\nyes what", &report);
  EXPECT_TRUE(report.reasons.empty());
  EXPECT_EQ(report.needs.files_size(), 0);
  EXPECT_EQ(report.bytes, 0u);
}

constexpr char kSmaps[] =
    "7f0000000000-7f0000200000 rw-p 00000000 00:00 0 \n"
    "Size:               2048 kB\nKernelPageSize:        4 kB\nShared_Clean:          0 kB\nVmFlags: rd wr mr mw me ac hg lo \n"
    "7f0000200000-7f0000600000 rw-p 00000000 00:10 99                         /anon_hugepage (deleted)\n"
    "KernelPageSize:     2048 kB\nVmFlags: rd wr mr mw me de ht \n"
    "7f0000600000-7f0000601000 rw-s 00000000 00:01 1234                       /dev/zero (deleted)\n"
    "KernelPageSize:        4 kB\nShared_Clean:          0 kB\nShared_Dirty:          4 kB\nVmFlags: rd wr sh mr mw me ms \n"
    "7f0000700000-7f0000701000 rw-s 00000000 00:01 1235                       /memfd:two words (deleted)\n"
    "Shared_Dirty:          4 kB\nVmFlags: rd wr sh mr mw me ms \n"
    "7f0000701000-7f0000702000 rw-s 00001000 00:01 1235                       /memfd:two words (deleted)\n"
    "Shared_Dirty:          0 kB\nVmFlags: rd wr sh mr mw me ms \n"
    "7ffff0000000-7ffff0021000 rw-p 00000000 00:00 0                          [stack]\nVmFlags: rd wr mr mw me gd ac \n"
    "7ffff7fc1000-7ffff7fc3000 r-xp 00000000 00:00 0                          [vdso]\nVmFlags: rd ex mr mw me de dd \n";

TEST(MemoryMarks, OnlyWhatIsSpecial) {
  std::istringstream in(kSmaps);
  MemoryMarks found = parse_smaps(in);
  ASSERT_EQ(found.marks.size(), 2u);
  EXPECT_EQ(found.marks[0].start, 0x7f0000000000u);
  EXPECT_EQ(found.marks[0].flags, wire::kMarkHuge | wire::kMarkLocked);
  EXPECT_EQ(found.marks[1].flags, wire::kMarkHugeTlb);
  EXPECT_EQ(found.marks[1].page_shift, 21u);
  ASSERT_EQ(found.huge_pages.size(), 1u);
  EXPECT_EQ(found.huge_pages[0].count(), 2u);
  // The memfd is mapped twice by the process itself, so what the kernel calls shared need not be another's.
  ASSERT_EQ(found.reasons.size(), 1u);
  EXPECT_NE(found.reasons[0].find("/dev/zero"), std::string::npos);
}

TEST(Processor, NamesWhatIsMissing) {
  std::string all = "x86-64 1c=100000 7b=20 xsave-bytes=340 xsave-parts=7";
  EXPECT_TRUE(missing_features(all, all).empty());
  EXPECT_TRUE(missing_features(all, "x86-64 1c=180000 7b=120 xsave-bytes=340 xsave-parts=7").empty());
  auto reasons = missing_features(all, without_features(all, {"avx2", "sse4_2"}));
  ASSERT_EQ(reasons.size(), 1u);
  EXPECT_EQ(reasons[0], "its processor lacks sse4_2, avx2");
  reasons = missing_features(all, "x86-64 1c=100000 7b=20 xsave-bytes=a80 xsave-parts=e7");
  EXPECT_EQ(reasons.size(), 2u);
  EXPECT_EQ(missing_features("arm64 x=1", all).size(), 1u);
  EXPECT_TRUE(missing_features(cpu_signature(), cpu_signature()).empty());
  EXPECT_EQ(cpu_signature().substr(0, 7), "x86-64 ");
}

}  // namespace
}  // namespace msocket::daemons
