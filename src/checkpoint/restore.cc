// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// RULE: from refill() on, nothing but this file's own inlined code and the bootstrap area may be used: libc, the library's
// data and the heap are being replaced under our feet. The object is compiled freestanding, and a test checks that it
// refers to no other symbol than the two of arch.h and the two below.
#include "src/checkpoint/restore.h"

#include <errno.h>

#include "src/checkpoint/arch.h"
#include "src/checkpoint/boot.h"
#include "src/checkpoint/image_check.h"
#include "src/checkpoint/maps.h"
#include "src/checkpoint/save.h"
#include "src/transport/raw.h"

namespace msocket::checkpoint {

namespace {

using wire::ImageRegion;
using wire::RegionKind;

constexpr int kArchSetGs = 0x1001, kArchSetFs = 0x1002;
constexpr int kRseqUnregister = 1;
constexpr int kSigSetMask = 2;

[[noreturn]] __attribute__((always_inline)) inline void fail(Boot* b, const char* text, const char* name, long error) {
  // A record on our own stack, built byte by byte: no memset from libc.
  alignas(8) char space[sizeof(wire::ControlRecord)];
  for (auto& c : space) *static_cast<volatile char*>(&c) = 0;
  auto* record = reinterpret_cast<wire::ControlRecord*>(space);
  record->magic = wire::kControlMagic;
  record->version = wire::kControlVersion;
  record->type = wire::Control::kRestored;
  record->error = error ? static_cast<int>(error < 0 ? -error : error) : EIO;
  volatile char* out = record->text;
  int n = 0;
  for (; *text && n < 250; ++text) out[n++] = *text;
  for (; name && *name && n < 250; ++name) out[n++] = *name;
  raw::write(b->control_fd, space, sizeof space);
  raw::exit_group(1);
}

__attribute__((always_inline)) inline long read_exact(int fd, void* data, size_t length) {
  auto* p = static_cast<char*>(data);
  while (length) {
    long n = raw::read(fd, p, length);
    if (n == -EINTR) continue;
    if (n <= 0) return n ? n : -EPIPE;
    p += n;
    length -= n;
  }
  return 0;
}

struct Kept {
  uint64_t start, end;
};

__attribute__((always_inline)) inline bool same_path(const Map& a, const Map& b) {
  if (a.path_length != b.path_length) return false;
  for (uint32_t i = 0; i < a.path_length; ++i)
    if (a.path[i] != b.path[i]) return false;
  return true;
}

// Unmaps all but: the bootstrap area, the kernel's pages, the stack, the heap (emptied), and the read-only parts of the file that
// this code is in. Returns how many ranges of that file were kept.
__attribute__((always_inline)) inline int clear_address_space(Boot* b, Kept* kept, int most, uint64_t here) {
  long length = read_maps(b->maps_text, sizeof b->maps_text);
  if (length < 0) fail(b, "cannot read the memory map", nullptr, length);
  const char *end = b->maps_text + length, *p = b->maps_text;
  Map map, own{};
  while (next_map(p, end, &map))
    if (map.start <= here && here < map.end) own = map;
  int count = 0;
  p = b->maps_text;
  while (next_map(p, end, &map)) {
    if (map.start >= kBootAddress && map.end <= kBootAddress + kBootSize) continue;
    if (path_starts(map, "[v") || path_starts(map, "[stack]")) continue;
    if (path_starts(map, "[heap]")) {
      raw::sys(SYS_madvise, map.start, map.end - map.start, MADV_DONTNEED);
      continue;
    }
    if (same_path(map, own) && !(map.prot & PROT_WRITE) && count < most) {
      kept[count++] = {map.start, map.end};
      continue;
    }
    raw::munmap(reinterpret_cast<void*>(map.start), map.end - map.start);
  }
  return count;
}

__attribute__((always_inline)) inline void make_region(Boot* b, const ImageRegion& region, const Kept* kept, int count) {
  auto* at = reinterpret_cast<void*>(region.start);
  size_t length = region.end - region.start;
  if (region.kind == RegionKind::kStack) return;  // grows by itself when it is filled
  if (region.kind == RegionKind::kHeap) {
    raw::sys(SYS_mprotect, at, length, PROT_READ | PROT_WRITE);
    return;
  }
  for (int i = 0; i < count; ++i) {
    if (kept[i].start != region.start) continue;
    if (!(region.prot & PROT_EXEC)) raw::sys(SYS_mprotect, at, length, PROT_READ | PROT_WRITE);
    return;
  }
  bool shared = region.kind == RegionKind::kSharedFile;
  int flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, fd = -1;
  int prot = PROT_READ | PROT_WRITE;
  if (shared || region.kind == RegionKind::kFile) {
    // A shared mapping that is only read now may have been made to be written; a file that must not be written cannot have.
    fd = static_cast<int>(raw::sys(SYS_openat, AT_FDCWD, region.path, (shared ? O_RDWR : O_RDONLY) | O_CLOEXEC));
    if (fd < 0 && shared && !(region.prot & PROT_WRITE)) {
      fd = static_cast<int>(raw::sys(SYS_openat, AT_FDCWD, region.path, O_RDONLY | O_CLOEXEC));
      prot = PROT_READ;
    }
    if (fd < 0) fail(b, "cannot open ", region.path, fd);
  } else {
    flags |= MAP_ANONYMOUS | MAP_NORESERVE;
  }
  void* got = raw::mmap(at, length, prot, flags, fd, static_cast<long>(region.offset));
  if (fd >= 0) raw::close(fd);
  if (raw::failed(got)) fail(b, "no memory for its regions ", region.path, reinterpret_cast<long>(got));
}

__attribute__((noinline)) void refill(void* argument) {
  auto* b = static_cast<Boot*>(argument);
  const wire::ImageHeader& header = b->header;
  Kept kept[16];
  auto here = reinterpret_cast<uint64_t>(__builtin_return_address(0));
  int count = clear_address_space(b, kept, 16, here);
  if (raw::sys(SYS_brk, header.brk_end) != static_cast<long>(header.brk_end))
    fail(b, "the heap cannot be put at its old place", nullptr, ENOMEM);
  for (uint32_t i = 0; i < header.regions; ++i) make_region(b, b->regions[i], kept, count);
  for (uint64_t filled = 0;;) {
    wire::ImageRun run;
    if (long r = read_exact(b->image_fd, &run, sizeof run); r < 0) fail(b, "the image ended early", nullptr, r);
    b->bytes += sizeof run + run.len;
    if (run.len == 0) break;
    if (!good_run(run, &filled, b->regions, header.regions)) fail(b, "the image is damaged", nullptr, EINVAL);
    if (long r = read_exact(b->image_fd, reinterpret_cast<void*>(run.addr), run.len); r < 0)
      fail(b, r == -EFAULT ? "a page has no place to go" : "the image ended early", nullptr, r);
  }
  raw::close(b->image_fd);
  for (uint32_t i = 0; i < header.regions; ++i) {
    const ImageRegion& region = b->regions[i];
    if (region.prot != (PROT_READ | PROT_WRITE) && region.kind != RegionKind::kStack)
      raw::sys(SYS_mprotect, region.start, region.end - region.start, region.prot);
  }
  raw::sys(SYS_arch_prctl, kArchSetFs, header.fs_base);
  raw::sys(SYS_arch_prctl, kArchSetGs, header.gs_base);
  if (header.tid_field) *reinterpret_cast<int*>(header.tid_field) = static_cast<int>(raw::gettid());
  raw::sys(SYS_set_tid_address, header.clear_tid);
  raw::sys(SYS_set_robust_list, header.robust_head, header.robust_len);
  if (header.rseq_area) raw::sys(SYS_rseq, header.rseq_area, header.rseq_len, 0, header.rseq_sig);
  msocket_context_resume(reinterpret_cast<const Context*>(header.context));
}

}  // namespace

void become_image() {
  Boot* b = boot();
  wire::ImageHeader& header = b->header;
  if (long r = read_exact(b->image_fd, &header, sizeof header); r < 0) fail(b, "no image came", nullptr, r);
  if (const char* why = why_not_header(header)) fail(b, why, nullptr, EINVAL);
  if (long r = read_exact(b->image_fd, b->regions, header.regions * sizeof(ImageRegion)); r < 0)
    fail(b, "the image ended early", nullptr, r);
  if (!good_regions(header, b->regions)) fail(b, "the image is damaged", nullptr, EINVAL);
  b->bytes = sizeof header + header.regions * sizeof(ImageRegion);
  long length = read_maps(b->maps_text, sizeof b->maps_text);
  const char *p = b->maps_text, *end = b->maps_text + (length < 0 ? 0 : length);
  Map map;
  bool same_vdso = false;
  while (next_map(p, end, &map))
    if (path_starts(map, "[vdso]")) same_vdso = map.start == header.vdso_start && map.end == header.vdso_end;
  if (!same_vdso) fail(b, "this kernel puts its vdso elsewhere", nullptr, EXDEV);
  uint64_t all = ~0ull;
  raw::sys(SYS_rt_sigprocmask, kSigSetMask, &all, nullptr, 8);
  // The stack grows while it is filled; the program's own limit comes back with the rest.
  constexpr int kLimitStack = 3;
  uint64_t limit[2];
  if (raw::sys(SYS_prlimit64, 0, kLimitStack, nullptr, limit) == 0) {
    limit[0] = limit[1];
    raw::sys(SYS_prlimit64, 0, kLimitStack, limit, nullptr);
  }
  ThreadFields mine = find_thread_fields();
  if (mine.rseq_area) raw::sys(SYS_rseq, mine.rseq_area, mine.rseq_length, kRseqUnregister, header.rseq_sig);
  msocket_on_stack(b->stack + sizeof b->stack, refill, b);
}

}  // namespace msocket::checkpoint
