// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "src/checkpoint/maps.h"
#include "src/util/scoped_fd.h"

namespace msocket::checkpoint {
namespace {

constexpr uint64_t kPage = 4096;

/// A private mapping of our own; unmapped at the end.
class Mapping {
 public:
  explicit Mapping(size_t pages, int fd = -1)
      : size_(pages * kPage),
        at_(static_cast<char*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0))) {
    madvise(at_, size_, MADV_NOHUGEPAGE);
  }
  ~Mapping() { munmap(at_, size_); }
  void touch(size_t page) { at_[page * kPage + 17] = 1; }
  char look(size_t page) const { return *const_cast<volatile char*>(at_ + page * kPage); }
  uint64_t start() const { return reinterpret_cast<uint64_t>(at_); }
  uint64_t end() const { return start() + size_; }

 private:
  size_t size_;
  char* at_;
};

/// Page numbers that the scanner reports, `most` runs at a time; a page that comes twice, or is outside, is a failure.
std::set<size_t> scan(const Mapping& mapping, int most) {
  std::set<size_t> pages;
  PageScanner scanner;
  if (scanner.open() != 0) {
    ADD_FAILURE() << "/proc/self/pagemap cannot be read";
    return pages;
  }
  scanner.range(mapping.start(), mapping.end());
  std::vector<PageRun> runs(most);
  uint64_t last = mapping.start();
  for (;;) {
    long n = scanner.next(runs.data(), most);
    if (n < 0) ADD_FAILURE() << strerror(static_cast<int>(-n));
    if (n <= 0) break;
    for (long i = 0; i < n; ++i) {
      EXPECT_GE(runs[i].start, last) << "out of order, or twice";
      EXPECT_LT(runs[i].start, runs[i].end);
      EXPECT_LE(runs[i].end, mapping.end());
      last = runs[i].end;
      for (uint64_t at = runs[i].start; at < runs[i].end; at += kPage) pages.insert((at - mapping.start()) / kPage);
    }
  }
  scanner.close();
  return pages;
}

/// Runs `work` in a child in which PAGEMAP_SCAN is unknown, as before Linux 6.7: the scanner must read the page map.
/// True: no expectation failed there.
bool without_the_ioctl(const std::function<void()>& work) {
  fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    constexpr unsigned kScan = (3u << 30) | (96u << 16) | ('f' << 8) | 16;  // _IOWR('f', 16, 96 bytes)
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kScan, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog filter{sizeof program / sizeof program[0], program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) _exit(77);
    ScopedFd map(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    EXPECT_TRUE(ioctl(map.get(), kScan, nullptr) == -1 && errno == ENOTTY) << "the filter does not work";
    work();
    fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    std::printf("no seccomp here: the other way of reading is not tested\n");
    return true;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

class Pages : public testing::TestWithParam<bool> {
 protected:
  void each_way(const std::function<void()>& work) {
    if (GetParam()) work();
    else EXPECT_TRUE(without_the_ioctl(work));
  }
};

TEST_P(Pages, FindsExactlyWhatWasTouched) {
  each_way([] {
    Mapping mapping(2000);
    std::set<size_t> expected = {0, 1, 2, 17, 511, 512, 513, 1024, 1998, 1999};
    for (size_t page : expected) mapping.touch(page);
    EXPECT_EQ(scan(mapping, 64), expected);
  });
}

TEST_P(Pages, FindsNothingInUntouchedMemory) {
  each_way([] {
    Mapping mapping(100);
    EXPECT_TRUE(scan(mapping, 64).empty());
  });
}

TEST_P(Pages, ManyRunsComeInBatches) {
  each_way([] {
    Mapping mapping(3000);
    std::set<size_t> expected;
    for (size_t page = 0; page < 3000; page += page % 7 == 0 ? 1 : 3) {
      mapping.touch(page);
      expected.insert(page);
    }
    for (int most : {2, 3, 64, 1000}) EXPECT_EQ(scan(mapping, most), expected) << most << " at a time";
  });
}

TEST_P(Pages, AWholeTouchedRangeIsWhole) {
  each_way([] {
    Mapping mapping(1500);
    std::set<size_t> expected;
    for (size_t page = 0; page < 1500; ++page) {
      mapping.touch(page);
      expected.insert(page);
    }
    EXPECT_EQ(scan(mapping, 2), expected);
  });
}

TEST_P(Pages, OfAMappedFileOnlyOurOwnCopies) {
  each_way([] {
    ScopedFd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(file);
    Mapping mapping(8, file.get());
    for (size_t page = 0; page < 8; ++page) mapping.look(page);
    mapping.touch(3);
    mapping.touch(6);
    EXPECT_EQ(scan(mapping, 64), (std::set<size_t>{3, 6}));
  });
}

INSTANTIATE_TEST_SUITE_P(Scan, Pages, testing::Values(true, false),
                         [](const auto& info) { return info.param ? "ByIoctl" : "ByReading"; });

TEST(PageScanner, PagesThatWereOnlyReadAreLeftOut) {
  Mapping mapping(64);
  for (size_t page = 0; page < 64; ++page) mapping.look(page);  // the kernel's one page of zeroes
  mapping.touch(20);
  std::set<size_t> pages = scan(mapping, 64);
  if (pages.size() == 64) GTEST_SKIP() << "this kernel has no PAGEMAP_SCAN; its page map does not tell zero pages apart";
  EXPECT_EQ(pages, std::set<size_t>{20});
}

std::string path_of(const Map& map) { return std::string(map.path, map.path_length); }

TEST(Maps, ReadsTheKernelsText) {
  const std::string text =
      "555555554000-555555556000 r--p 00001000 fe:01 1835023                    /usr/bin/a program\n"
      "555555559000-55555557a000 rw-p 00000000 00:00 0                          [heap]\n"
      "7ffff7c00000-7ffff7c01000 ---p 00000000 00:00 0 \n"
      "7ffff7d00000-7ffff7d02000 rw-s 00000000 00:01 12                         /dev/zero (deleted)\n"
      "7ffff7fc3000-7ffff7fc5000 r-xp 00000000 00:00 0                          [vdso]\n"
      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
  const char *p = text.data(), *end = p + text.size();
  std::vector<Map> maps;
  for (Map map; next_map(p, end, &map);) maps.push_back(map);
  ASSERT_EQ(maps.size(), 6u);
  EXPECT_EQ(maps[0].start, 0x555555554000u);
  EXPECT_EQ(maps[0].end, 0x555555556000u);
  EXPECT_EQ(maps[0].offset, 0x1000u);
  EXPECT_EQ(maps[0].prot, static_cast<uint32_t>(PROT_READ));
  EXPECT_FALSE(maps[0].shared);
  EXPECT_EQ(path_of(maps[0]), "/usr/bin/a program");
  EXPECT_EQ(maps[1].prot, static_cast<uint32_t>(PROT_READ | PROT_WRITE));
  EXPECT_TRUE(path_starts(maps[1], "[heap]"));
  EXPECT_EQ(maps[2].prot, 0u);
  EXPECT_EQ(path_of(maps[2]), "");
  EXPECT_TRUE(maps[3].shared);
  EXPECT_EQ(path_of(maps[3]), "/dev/zero (deleted)");
  EXPECT_EQ(maps[4].prot, static_cast<uint32_t>(PROT_READ | PROT_EXEC));
  EXPECT_TRUE(path_starts(maps[4], "[vdso]"));
  EXPECT_FALSE(path_starts(maps[4], "[vdso].more"));
  EXPECT_EQ(maps[5].start, 0xffffffffff600000u);
}

TEST(Maps, ReadsOurOwn) {
  std::vector<char> text(1 << 20);
  long length = read_maps(text.data(), text.size());
  ASSERT_GT(length, 0);
  const char *p = text.data(), *end = p + length;
  uint64_t here = reinterpret_cast<uint64_t>(&path_of), before = 0;
  int stacks = 0, ours = 0;
  for (Map map; next_map(p, end, &map);) {
    EXPECT_LE(before, map.start);
    EXPECT_LT(map.start, map.end);
    before = map.end;
    stacks += path_starts(map, "[stack]");
    if (map.start <= here && here < map.end) ours += map.prot == (PROT_READ | PROT_EXEC);
  }
  EXPECT_EQ(p, end);
  EXPECT_EQ(stacks, 1);
  EXPECT_EQ(ours, 1);
}

TEST(Maps, SaysWhenTheRoomIsTooSmall) {
  char text[64];
  EXPECT_EQ(read_maps(text, sizeof text), -ENOSPC);
}

}  // namespace
}  // namespace msocket::checkpoint
