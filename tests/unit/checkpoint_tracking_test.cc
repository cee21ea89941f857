// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The kernel's tracking of writes, on memory of our own: what was written is found, and at the end exactly what the other side
// lacks is named.
#include "src/checkpoint/tracking.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>
#include <set>
#include <vector>

#include "src/daemons/tracked_memory.h"
#include "src/util/scoped_fd.h"

namespace msocket {
namespace {

constexpr uint64_t kPage = 4096;
using daemons::PageSet;
using wire::ImagePart;

class Tracking : public testing::Test {
 protected:
  Tracking() : memory_(getpid(), ScopedFd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | 1)))) {
    at_ = static_cast<char*>(mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    madvise(at_, kPages * kPage, MADV_NOHUGEPAGE);
  }
  ~Tracking() override { munmap(at_, kPages * kPage); }
  void SetUp() override {
    if (std::string why = memory_.begin(); !why.empty()) GTEST_SKIP() << why;
    for (size_t page = 0; page < kPages; page += 2) touch(page);
    EXPECT_EQ(memory_.track(only(area())).size(), 1u);
    EXPECT_TRUE(memory_.track(only(area())).empty()) << "it is tracked already";
  }
  void touch(size_t page) { at_[page * kPage] = ++counter_; }
  uint64_t start() const { return reinterpret_cast<uint64_t>(at_); }
  wire::ImageRegion area() const {
    return {.start = start(), .end = start() + kPages * kPage, .prot = 3, .kind = wire::RegionKind::kAnon};
  }
  static daemons::MemoryAreas only(const wire::ImageRegion& one) {
    return {.areas = {one}};
  }
  std::set<size_t> numbers(const std::vector<PageSet::Run>& runs) const {
    std::set<size_t> found;
    for (const auto& run : runs)
      for (uint64_t page = run.start; page < run.end; page += kPage) found.insert((page - start()) / kPage);
    return found;
  }
  std::set<size_t> take() {
    std::set<size_t> found;
    for (uint64_t at = start(); at < area().end;) found.merge(numbers(memory_.take_written(area(), &at, area().end)));
    return found;
  }
  /// What a frozen process would do about its region, when `sent` is on the other side.
  std::map<size_t, ImagePart> rest(const std::vector<PageSet::Run>& sent, const wire::ImageRegion& into) {
    ScopedFd list(memfd_create("sent", MFD_CLOEXEC));
    for (const auto& pages : sent) {
      wire::SentRun run{pages.start, pages.end, wire::ground_of(into)};
      EXPECT_EQ(write(list.get(), &run, sizeof run), static_cast<ssize_t>(sizeof run));
    }
    checkpoint::PageScanner scanner;
    EXPECT_EQ(scanner.open(), 0);
    checkpoint::SentList there(list.get());
    wire::ImageRegion region = area();
    checkpoint::RegionRest rest(&scanner, &there, region);
    std::map<size_t, ImagePart> found;
    uint64_t last = 0;
    EXPECT_EQ(rest.each([&](ImagePart part, uint64_t from, uint64_t to) {
      EXPECT_GE(from, last);
      last = to;
      for (uint64_t page = from; page < to; page += kPage) found[(page - start()) / kPage] = part;
    }), 0);
    scanner.close();
    return found;
  }
  std::map<size_t, ImagePart> rest(const std::vector<PageSet::Run>& sent) { return rest(sent, area()); }
  PageSet::Run run(size_t first, size_t end) const { return {start() + first * kPage, start() + end * kPage}; }

  static constexpr size_t kPages = 1000;
  daemons::TrackedMemory memory_;
  char* at_;
  char counter_ = 0;
};

TEST_F(Tracking, WhatIsWrittenIsFoundOnce) {
  EXPECT_EQ(take().size(), kPages / 2);
  EXPECT_TRUE(take().empty());
  for (size_t page : {0, 1, 500, 999}) touch(page);
  ScopedFd zero(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(read(zero.get(), at_ + 10 * kPage, 3), 3) << "the kernel writes for us";
  EXPECT_GE(memory_.written({area()}), 5 * kPage);
  EXPECT_EQ(take(), (std::set<size_t>{0, 1, 10, 500, 999}));
  EXPECT_TRUE(take().empty());
}

TEST_F(Tracking, TheRestIsWhatTheOtherSideLacks) {
  take();
  touch(4);                                                   // written since
  madvise(at_ + 6 * kPage, kPage, MADV_DONTNEED);             // dropped
  madvise(at_ + 8 * kPage, kPage, MADV_DONTNEED);
  touch(8);                                                   // dropped and written
  touch(21);                                                  // new
  std::map<size_t, ImagePart> expected{{4, ImagePart::kPages}, {6, ImagePart::kDrop}, {8, ImagePart::kPages},
                                       {21, ImagePart::kPages}, {13, ImagePart::kDrop}};
  std::vector<PageSet::Run> sent;
  for (size_t page = 0; page < kPages; page += 2)
    if (page != 40) sent.push_back(run(page, page + 1));
  expected[40] = ImagePart::kPages;                           // clean, but never sent
  sent.insert(sent.begin() + 7, run(13, 14));                 // sent once, nothing there now
  EXPECT_EQ(rest(sent), expected);
}

TEST_F(Tracking, WithoutAListAllOfItIsTheRest) {
  take();
  auto found = rest({});
  EXPECT_EQ(found.size(), kPages / 2);
  for (auto [page, part] : found) EXPECT_EQ(part, ImagePart::kPages) << page;
}

TEST_F(Tracking, WhatWasSentIntoAnotherGroundIsNotThere) {
  take();
  wire::ImageRegion file = area();
  file.kind = wire::RegionKind::kFile;
  auto found = rest({run(0, kPages)}, file);
  EXPECT_EQ(found.size(), kPages / 2) << "what is mapped anew need not be told what to forget";
  for (auto [page, part] : found) EXPECT_EQ(part, ImagePart::kPages) << page;
  wire::ImageRegion heap = area();
  heap.kind = wire::RegionKind::kHeap;
  EXPECT_EQ(rest({run(0, kPages)}, heap)[0], static_cast<ImagePart>(0)) << "the heap is memory like other memory";
}

TEST_F(Tracking, MarksOfAnEarlierRegistrationHideNoWrites) {
  take();
  // A part goes away, is tracked there, and comes back: joined with it, all of the mapping is tracked no more, but stays marked.
  void* place = mmap(nullptr, 10 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_EQ(mremap(at_ + 500 * kPage, 10 * kPage, 10 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place), place);
  wire::ImageRegion there{.start = reinterpret_cast<uint64_t>(place), .end = reinterpret_cast<uint64_t>(place) + 10 * kPage, .prot = 3};
  ASSERT_EQ(memory_.track(only(there)).size(), 1u);
  void* back = at_ + 500 * kPage;
  ASSERT_EQ(mremap(place, 10 * kPage, 10 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, back), back);
  touch(2);
  EXPECT_FALSE(memory_.track(only(area())).empty());
  EXPECT_TRUE(take().contains(2));
  touch(2);
  EXPECT_EQ(take(), std::set<size_t>{2});
}

TEST_F(Tracking, WhatIsMappedAnewIsNotTracked) {
  take();
  char* again = static_cast<char*>(mmap(at_, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  ASSERT_EQ(again, at_);
  touch(3);
  EXPECT_TRUE(take().empty());
  auto found = rest({run(0, 10)});
  EXPECT_EQ(found[3], ImagePart::kPages);
  EXPECT_EQ(found[4], ImagePart::kDrop);
  EXPECT_EQ(memory_.track(only(area())).size(), 1u);
  EXPECT_EQ(take(), std::set<size_t>{3});
}

TEST_F(Tracking, WhatWasMovedToAnotherPlaceIsNotTrackedThere) {
  take();
  void* place = mmap(nullptr, 10 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_EQ(mremap(at_, 10 * kPage, 10 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place), place);
  wire::ImageRegion there{.start = reinterpret_cast<uint64_t>(place), .end = reinterpret_cast<uint64_t>(place) + 10 * kPage, .prot = 3};
  auto fresh = memory_.track(only(there));
  ASSERT_EQ(fresh.size(), 1u) << "its marks are worth nothing";
  EXPECT_EQ(fresh[0].end - fresh[0].start, 10 * kPage);
  munmap(place, 10 * kPage);
}

TEST_F(Tracking, AStackThatGrewMeanwhileStaysOneMapping) {
  auto stack = [&] {
    for (const auto& area : memory_.areas().areas)
      if (area.kind == wire::RegionKind::kStack) return area;
    return wire::ImageRegion{};
  };
  wire::ImageRegion before = stack();
  ASSERT_GT(before.end - before.start, 8 * kPage);
  wire::ImageRegion earlier = before;
  earlier.start += 4 * kPage;  // as it was when it was looked at
  EXPECT_FALSE(memory_.track(only(earlier)).empty());
  EXPECT_EQ(stack().start, before.start);
  checkpoint::PageScanner scanner;
  ASSERT_EQ(scanner.open(), 0);
  EXPECT_TRUE(scanner.tracked(before.start));
  scanner.close();
}

}  // namespace
}  // namespace msocket
