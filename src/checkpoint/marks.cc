// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What the program has told the kernel about its memory besides mapping it: madvise, mlock, MAP_HUGETLB, MAP_GROWSDOWN. The daemon
// reads that before the move (src/wire/look.h); in the new process the memory is there already, as ordinary memory.
#include "src/checkpoint/marks.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "src/checkpoint/boot.h"
#include "src/checkpoint/resources.h"
#include "src/transport/raw.h"

namespace msocket::checkpoint {

namespace {

constexpr uint64_t kPage = 4096;
constexpr int kMadvWipeOnFork = 18;
constexpr int kHugeShift = 26;  // MAP_HUGE_SHIFT
constexpr int kOnFault = 1;     // MLOCK_ONFAULT

constexpr struct {
  uint32_t flag;
  int advice;
} advices[] = {
    {wire::kMarkHuge, MADV_HUGEPAGE},       {wire::kMarkNoHuge, MADV_NOHUGEPAGE},       {wire::kMarkMergeable, MADV_MERGEABLE},
    {wire::kMarkDontFork, MADV_DONTFORK},   {wire::kMarkDontDump, MADV_DONTDUMP},       {wire::kMarkWipeOnFork, kMadvWipeOnFork},
    {wire::kMarkSequential, MADV_SEQUENTIAL}, {wire::kMarkRandom, MADV_RANDOM},
};

wire::MemoryMark marks_[wire::kMaxMarks];
int count;

const wire::ImageRegion* region_at(uint64_t address) {
  const Boot* b = boot();
  for (uint32_t i = 0; i < b->header.regions; ++i)
    if (address >= b->regions[i].start && address < b->regions[i].end) return &b->regions[i];
  return nullptr;
}

void copy_what_is_there(char* to, const char* from, uint64_t length) {
  for (uint64_t at = 0; at < length; at += kPage) {
    auto* words = reinterpret_cast<const uint64_t*>(from + at);
    uint64_t any = 0;
    for (uint64_t i = 0; i < kPage / sizeof *words; ++i) any |= words[i];
    if (any) memcpy(to + at, from + at, kPage);
  }
}

// Another kind of mapping at the same place, with the same content.
bool map_as(const wire::MemoryMark& mark, int flags, int prot) {
  uint64_t length = mark.end - mark.start;
  auto* at = reinterpret_cast<char*>(mark.start);
  void* aside = raw::mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  if (raw::failed(aside)) return false;
  if (raw::failed(reinterpret_cast<void*>(
          raw::sys(SYS_mremap, at, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, aside))))
    return false;
  void* made = raw::mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags);
  if (raw::failed(made)) return false;
  if (!(prot & PROT_READ)) raw::sys(SYS_mprotect, aside, length, PROT_READ);
  copy_what_is_there(at, static_cast<const char*>(aside), length);
  raw::munmap(aside, length);
  return prot == (PROT_READ | PROT_WRITE) || raw::sys(SYS_mprotect, at, length, prot) == 0;
}

bool refuse(Refusal* why, const char* what, const wire::MemoryMark& mark) {
  why->add(what);
  why->add(static_cast<long>((mark.end - mark.start) >> 10));
  why->add(" KiB");
  return false;
}

bool apply(const wire::MemoryMark& mark, Refusal* why) {
  const wire::ImageRegion* region = region_at(mark.start);
  if (!region || mark.end > region->end) return true;  // it has been unmapped since, or mapped anew
  uint64_t length = mark.end - mark.start;
  int prot = static_cast<int>(region->prot);
  if (mark.flags & wire::kMarkHugeTlb) {
    int size = static_cast<int>(mark.page_shift << kHugeShift);
    if (!map_as(mark, MAP_HUGETLB | size, prot)) return refuse(why, "this node has no huge pages for ", mark);
  } else if ((mark.flags & wire::kMarkGrowsDown) && region->kind == wire::RegionKind::kAnon) {
    if (!map_as(mark, MAP_GROWSDOWN, prot)) return refuse(why, "no memory for a stack of ", mark);
  }
  for (const auto& one : advices)
    if (mark.flags & one.flag) raw::sys(SYS_madvise, mark.start, length, one.advice);
  if (mark.flags & wire::kMarkLocked) {
    int flags = mark.flags & wire::kMarkOnFault ? kOnFault : 0;
    if (raw::sys(SYS_mlock2, mark.start, length, flags) != 0) return refuse(why, "this node does not let it lock (mlock) ", mark);
  }
  return true;
}

bool finish(Refusal* why) {
  for (int i = 0; i < count; ++i)
    if (!apply(marks_[i], why)) return false;
  return true;
}

}  // namespace

void read_marks(int fd) {
  count = 0;
  long n = fd < 0 ? 0 : raw::sys(SYS_pread64, fd, marks_, sizeof marks_, 0);
  if (n > 0) count = static_cast<int>(n / static_cast<long>(sizeof marks_[0]));
}

extern const Resource marks;
const Resource marks{.finish = finish};

}  // namespace msocket::checkpoint
