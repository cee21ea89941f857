// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// RULE: from refill() on, nothing but this file's own inlined code and the bootstrap area may be used: libc, the library's
// data and the heap are being replaced under our feet. The object is compiled freestanding, and a test checks that it
// refers to no other symbol than the two of arch.h and the two below.
#include "src/checkpoint/restore.h"

#include <errno.h>
#include <sched.h>
#include <sys/socket.h>

#include "src/checkpoint/arch.h"
#include "src/checkpoint/boot.h"
#include "src/checkpoint/image_check.h"
#include "src/checkpoint/image_sum.h"
#include "src/checkpoint/maps.h"
#include "src/checkpoint/threads.h"
#include "src/transport/raw.h"

namespace msocket::checkpoint {

namespace {

using wire::ImagePart;
using wire::ImageRegion;
using wire::RegionKind;

constexpr int kArchSetGs = 0x1001, kArchSetFs = 0x1002;
constexpr uint64_t kThreadFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                                  CLONE_SETTLS | CLONE_CHILD_CLEARTID;
constexpr int kSigSetMask = 2;
constexpr uint64_t kWorthPopulating = 16 * 4096;
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE; libc's headers are older

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

// Names an address.
[[noreturn]] __attribute__((always_inline)) inline void fail_at(Boot* b, const char* text, uint64_t address, long error) {
  char number[20];
  int n = 0;
  for (int shift = 44; shift >= 0; shift -= 4) {
    auto digit = static_cast<int>(address >> shift & 15);
    number[n++] = static_cast<char>(digit < 10 ? '0' + digit : 'a' + digit - 10);
  }
  number[n] = 0;
  fail(b, text, number, error);
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

__attribute__((always_inline)) inline bool is_boot(const Map& map) {
  return map.start >= kBootAddress && map.end <= kBootAddress + kBootSize;
}

// Unmaps all but: the bootstrap area, the kernel's pages, the stack and the heap (both emptied), and the read-only parts of the
// file that this code is in. Returns how many ranges of that file were kept.
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
    if (is_boot(map) || path_starts(map, "[v")) continue;
    if (path_starts(map, "[stack]")) b->stack_low = map.start;
    if (path_starts(map, "[heap]") || path_starts(map, "[stack]")) {
      raw::sys(SYS_madvise, map.start, map.end - map.start, MADV_DONTNEED);
      continue;
    }
    if (same_path(map, own) && !(map.prot & PROT_WRITE)) {
      // The kernel may have joined in one process what are two mappings in another.
      if (count && kept[count - 1].end == map.start) {
        kept[count - 1].end = map.end;
        continue;
      }
      if (count < most) {
        kept[count++] = {map.start, map.end};
        continue;
      }
    }
    raw::munmap(reinterpret_cast<void*>(map.start), map.end - map.start);
  }
  return count;
}

// Room for [start, end) of a region, to be filled; what is there goes.
__attribute__((always_inline)) inline void map_part(Boot* b, const ImageRegion& region, uint64_t start, uint64_t end) {
  bool shared = region.kind == RegionKind::kSharedFile, file = shared || region.kind == RegionKind::kFile;
  int flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, fd = -1;
  int prot = PROT_READ | PROT_WRITE;
  if (file) {
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
  void* got = raw::mmap(reinterpret_cast<void*>(start), end - start, prot, flags, fd,
                        static_cast<long>(file ? region.offset + (start - region.start) : 0));
  if (fd >= 0) raw::close(fd);
  if (raw::failed(got)) fail(b, "no memory for its regions ", region.path, reinterpret_cast<long>(got));
}

// All but this one, which is the first. Each begins in the handler where it was saved; the one that froze the process comes last,
// for it is the one that goes on. They share all that threads of a process share.
__attribute__((always_inline)) inline void start_threads(Boot* b) {
  const wire::ImageHeader& header = b->header;
  auto* list = reinterpret_cast<const ThreadState* const*>(header.thread_list);
  int32_t self = static_cast<int32_t>(raw::gettid());
  for (uint32_t i = 0; i < header.threads; ++i) {
    auto at = reinterpret_cast<uint64_t>(list[i]);
    if (!inside_a_region(at, sizeof(ThreadState), b->regions, header.regions)) fail(b, "the image is damaged: ", "a thread", EINVAL);
    const ThreadState& thread = *list[i];
    if (header.threads > 1 && i == 0 && thread.tid != self)
      fail(b, "its threads cannot keep their ids on this node", nullptr, EPERM);
    if (i == 0) continue;
    int32_t id = thread.tid;
    struct {  // clone_args up to set_tid_size
      uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size;
    } arguments{kThreadFlags, 0, thread.clear_tid, 0, 0, thread.context.rsp - 4096, 2048, thread.fs_base,
                reinterpret_cast<uint64_t>(&id), 1};
    long r = msocket_clone_thread(&arguments, sizeof arguments, &thread.context);
    if (r < 0) fail(b, "a thread cannot be started again on this node", nullptr, r);
  }
}

// A region, or a part of one, of which pages come while the process still runs in its old place.
__attribute__((always_inline)) inline void make_piece(Boot* b, const ImageRegion& piece, const Kept* kept, int count) {
  for (int i = 0; i < count; ++i) {
    if (piece.end <= kept[i].start || piece.start >= kept[i].end) continue;
    if (piece.kind != RegionKind::kFile || piece.start < kept[i].start || piece.end > kept[i].end)
      fail(b, "the image is damaged: ", "a piece of the program", EINVAL);
    if (!(piece.prot & PROT_EXEC))
      raw::sys(SYS_mprotect, piece.start, piece.end - piece.start, PROT_READ | PROT_WRITE);
    return;
  }
  if (piece.kind == RegionKind::kStack) {  // grows by itself when it is filled; something may have been in its way
    uint64_t end = piece.end < b->stack_low ? piece.end : b->stack_low;
    if (piece.start < end) raw::munmap(reinterpret_cast<void*>(piece.start), end - piece.start);
    return;
  }
  if (piece.kind == RegionKind::kHeap) {
    auto now = static_cast<uint64_t>(raw::sys(SYS_brk, 0));
    uint64_t from = (now + kPageSize - 1) & ~(kPageSize - 1);
    if (piece.end > from) {
      raw::munmap(reinterpret_cast<void*>(from), piece.end - from);
      raw::sys(SYS_brk, piece.end);  // what it cannot do is tried again when all is known
    }
  }
  map_part(b, piece, piece.start, piece.end);
}

// Is the mapping what the region is to be?
__attribute__((always_inline)) inline bool same_ground(const ImageRegion& region, const Map& map) {
  if (map.shared || region.fresh) return false;
  if (region.kind == RegionKind::kStack) return path_starts(map, "[stack]");
  if (region.kind != RegionKind::kFile)
    return map.path_length == 0 || path_starts(map, "[heap]") || path_starts(map, "[anon");
  uint32_t i = 0;
  for (; i < map.path_length; ++i)
    if (region.path[i] != map.path[i]) return false;
  return region.path[i] == 0 && map.offset - map.start == region.offset - region.start;
}

// Makes the address space that of the image. What is already there and right keeps its pages.
__attribute__((always_inline)) inline void settle_layout(Boot* b, uint64_t here) {
  const wire::ImageHeader& header = b->header;
  long length = read_maps(b->maps_text, sizeof b->maps_text);
  if (length < 0) fail(b, "cannot read the memory map", nullptr, length);
  const char *end = b->maps_text + length, *p = b->maps_text;
  Map map;
  uint32_t first = 0;
  while (next_map(p, end, &map)) {
    if (is_boot(map) || path_starts(map, "[v") || (map.start <= here && here < map.end)) continue;
    bool stays = path_starts(map, "[stack]") || path_starts(map, "[heap]");
    while (first < header.regions && b->regions[first].end <= map.start) ++first;
    uint64_t at = map.start;
    for (uint32_t i = first; at < map.end; ++i) {
      bool over = i < header.regions && b->regions[i].start < map.end;
      uint64_t stop = !over ? map.end : b->regions[i].start > at ? b->regions[i].start : at;
      if (stop > at && !stays) raw::munmap(reinterpret_cast<void*>(at), stop - at);
      if (!over) break;
      at = stop;
      stop = b->regions[i].end < map.end ? b->regions[i].end : map.end;
      if (!same_ground(b->regions[i], map)) raw::munmap(reinterpret_cast<void*>(at), stop - at);
      at = stop;
    }
  }
  if (raw::sys(SYS_brk, header.brk_end) != static_cast<long>(header.brk_end))
    fail(b, "the heap cannot be put at its old place", nullptr, ENOMEM);
  length = read_maps(b->maps_text, sizeof b->maps_text);
  if (length < 0) fail(b, "cannot read the memory map", nullptr, length);
  p = b->maps_text;
  end = p + length;
  bool more = next_map(p, end, &map);
  for (uint32_t i = 0; i < header.regions; ++i) {
    const ImageRegion& region = b->regions[i];
    for (uint64_t at = region.start; at < region.end;) {
      while (more && map.end <= at) more = next_map(p, end, &map);
      uint64_t stop = more && map.start < region.end ? map.start : region.end;
      if (stop > at) {
        if (region.kind != RegionKind::kStack) map_part(b, region, at, stop);
        at = stop;
        continue;
      }
      stop = map.end < region.end ? map.end : region.end;
      if ((map.prot & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE) && !(map.prot & PROT_EXEC))
        raw::sys(SYS_mprotect, at, stop - at, PROT_READ | PROT_WRITE);
      at = stop;
    }
  }
}

__attribute__((always_inline)) inline void take_pages(Boot* b, const wire::ImageRun& run) {
  if (run.part == ImagePart::kDrop) {
    raw::sys(SYS_madvise, run.addr, run.len, MADV_DONTNEED);
    return;
  }
  b->bytes += run.len;
  // In one go, where the kernel (5.14) and the mapping allow it: a page fault for each page costs as much as its copying.
  if (run.len >= kWorthPopulating) raw::sys(SYS_madvise, run.addr, run.len, kPopulateWrite);
  if (long r = read_exact(b->image_fd, reinterpret_cast<void*>(run.addr), run.len); r < 0) {
    if (r == -EFAULT) fail_at(b, "a page has no place to go, at ", run.addr, r);
    fail(b, "the image ended early", nullptr, r);
  }
}

__attribute__((always_inline)) inline void next_run(Boot* b, wire::ImageRun* run) {
  if (long r = read_exact(b->image_fd, run, sizeof *run); r < 0) fail(b, "the image ended early", nullptr, r);
  b->bytes += sizeof *run;
}

// Everything up to the state: the process still runs in its old place.
__attribute__((always_inline)) inline void take_early_pages(Boot* b, const Kept* kept, int count) {
  uint64_t vdso_start = b->image.vdso_start, vdso_end = b->image.vdso_end;
  for (;;) {
    wire::ImageRun run;
    next_run(b, &run);
    if (run.part == ImagePart::kState) return;
    if (run.part == ImagePart::kSync) {  // if nobody hears it the stream's end will tell
      raw::sys(SYS_sendto, b->image_fd, &run, sizeof run, MSG_NOSIGNAL, 0, 0);
      continue;
    }
    if (run.part == ImagePart::kRegion) {
      if (long r = read_exact(b->image_fd, &b->piece, sizeof b->piece); r < 0) fail(b, "the image ended early", nullptr, r);
      b->bytes += sizeof b->piece;
      if (!good_region(b->piece, vdso_start, vdso_end)) fail(b, "the image is damaged: ", "a piece", EINVAL);
      make_piece(b, b->piece, kept, count);
      continue;
    }
    bool good = run.part == ImagePart::kPages || run.part == ImagePart::kDrop;
    if (!good || !good_place(run.addr, run.len, vdso_start, vdso_end)) fail(b, "the image is damaged: ", "early pages", EINVAL);
    take_pages(b, run);
  }
}

// The sum of a region as the frozen process had it. A kernel without PAGEMAP_SCAN makes none.
__attribute__((always_inline)) inline void check_sum(Boot* b, const wire::ImageRun& run) {
  const ImageRegion* region = nullptr;
  for (uint32_t i = 0; i < b->header.regions; ++i)
    if (b->regions[i].start == run.addr) region = &b->regions[i];
  if (!region) fail(b, "the image is damaged: ", "a sum", EINVAL);
  auto pagemap = static_cast<int>(raw::sys(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  uint64_t sum = sum_of(pagemap, *region, LiveStack(b->header));
  raw::close(pagemap);
  if (sum == run.len) return;
  fail_at(b, "the new memory is not the old one's, at ", run.addr, EIO);
}

__attribute__((noinline)) void refill(void* argument) {
  auto* b = static_cast<Boot*>(argument);
  const wire::ImageHeader& header = b->header;
  Kept kept[16];
  auto here = reinterpret_cast<uint64_t>(__builtin_return_address(0));
  int count = clear_address_space(b, kept, 16, here);
  take_early_pages(b, kept, count);
  if (long r = read_exact(b->image_fd, &b->header, sizeof b->header); r < 0) fail(b, "the image ended early", nullptr, r);
  if (const char* why = why_not_header(header)) fail(b, why, nullptr, EINVAL);
  if (header.vdso_start != b->image.vdso_start || header.vdso_end != b->image.vdso_end)
    fail(b, "the image is damaged: ", "the start", EINVAL);
  if (long r = read_exact(b->image_fd, b->regions, header.regions * sizeof(ImageRegion)); r < 0)
    fail(b, "the image ended early", nullptr, r);
  if (!good_regions(header, b->regions)) fail(b, "the image is damaged: ", "the regions", EINVAL);
  b->bytes += sizeof header + header.regions * sizeof(ImageRegion);
  settle_layout(b, here);
  for (uint64_t filled = 0;;) {
    wire::ImageRun run;
    next_run(b, &run);
    if (run.part == ImagePart::kEnd) break;
    if (run.part == ImagePart::kSum) {
      check_sum(b, run);
      continue;
    }
    if (!good_run(run, &filled, b->regions, header.regions)) fail(b, "the image is damaged: ", "a run of pages", EINVAL);
    take_pages(b, run);
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
  start_threads(b);
  msocket_context_resume(reinterpret_cast<const Context*>(header.context));
}

}  // namespace

void become_image() {
  Boot* b = boot();
  wire::ImageStart& image = b->image;
  if (long r = read_exact(b->image_fd, &image, sizeof image); r < 0) fail(b, "no image came", nullptr, r);
  if (const char* why = why_not_start(image)) fail(b, why, nullptr, EINVAL);
  b->bytes = sizeof image;
  long length = read_maps(b->maps_text, sizeof b->maps_text);
  const char *p = b->maps_text, *end = b->maps_text + (length < 0 ? 0 : length);
  Map map;
  bool same_vdso = false;
  while (next_map(p, end, &map))
    if (path_starts(map, "[vdso]")) same_vdso = map.start == image.vdso_start && map.end == image.vdso_end;
  if (!same_vdso) fail(b, "this kernel puts its vdso elsewhere", nullptr, EXDEV);
  uint64_t all = ~0ull;
  raw::sys(SYS_rt_sigprocmask, kSigSetMask, &all, nullptr, 8);
  ThreadState mine;
  find_thread_layout();
  note_thread(&mine);
  if (mine.rseq_area) raw::sys(SYS_rseq, mine.rseq_area, mine.rseq_len, kRseqUnregister, kRseqSignature);
  // The stack grows while it is filled; the program's own limit comes back with the rest.
  constexpr int kLimitStack = 3;
  uint64_t limit[2];
  if (raw::sys(SYS_prlimit64, 0, kLimitStack, nullptr, limit) == 0) {
    limit[0] = limit[1];
    raw::sys(SYS_prlimit64, 0, kLimitStack, limit, nullptr);
  }
  msocket_on_stack(b->stack + sizeof b->stack, refill, b);
}

}  // namespace msocket::checkpoint
