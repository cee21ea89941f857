// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Is what comes as an image one? Everything that the restorer maps, fills and jumps to is looked at here before. Header-only and
// inlined, because the restorer uses it when libc is no longer mapped.
#pragma once
#include <cstdint>

#include "src/checkpoint/arch.h"
#include "src/checkpoint/boot.h"
#include "src/wire/image.h"

namespace msocket::checkpoint {

inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint32_t kMostThreads = 1025;
inline constexpr uint64_t kUserEnd = 0x7ffffffff000;  ///< x86-64 with four levels of page tables

inline __attribute__((always_inline)) const char* why_not_start(const wire::ImageStart& start) {
  if (start.magic != wire::kImageMagic || start.version != wire::kImageVersion || start.page_size != kPageSize)
    return "the image is of another version of msocket";
  return nullptr;
}

/// Whole pages of a program's memory, not the bootstrap area's and not the kernel's.
inline __attribute__((always_inline)) bool good_place(uint64_t addr, uint64_t len, uint64_t vdso_start, uint64_t vdso_end) {
  if (addr % kPageSize || len % kPageSize || !len || addr >= kUserEnd || len > kUserEnd - addr) return false;
  if (addr < kBootAddress + kBootSize && addr + len > kBootAddress) return false;
  return addr >= vdso_end || addr + len <= vdso_start;
}

/// What a region says of itself.
inline __attribute__((always_inline)) bool good_region(const wire::ImageRegion& region, uint64_t vdso_start,
                                                       uint64_t vdso_end) {
  if (region.start >= region.end || region.offset % kPageSize) return false;
  if (!good_place(region.start, region.end - region.start, vdso_start, vdso_end)) return false;
  if (region.prot > 7) return false;  // PROT_READ, PROT_WRITE, PROT_EXEC
  if (static_cast<uint32_t>(region.kind) > static_cast<uint32_t>(wire::RegionKind::kSharedFile)) return false;
  if (region.path[wire::kImagePathMax - 1]) return false;
  bool file = region.kind == wire::RegionKind::kFile || region.kind == wire::RegionKind::kSharedFile;
  return file == (region.path[0] == '/');
}

/// nullptr, or what is wrong. `regions` are looked at apart.
inline __attribute__((always_inline)) const char* why_not_header(const wire::ImageHeader& header) {
  if (header.magic != wire::kImageMagic || header.version != wire::kImageVersion)
    return "the image is of another version of msocket";
  if (header.regions > wire::kImageMaxRegions || header.page_size != kPageSize) return "the image is damaged";
  return nullptr;
}

inline __attribute__((always_inline)) bool inside_a_region(uint64_t address, uint64_t length,
                                                           const wire::ImageRegion* regions, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i)
    if (address >= regions[i].start && address < regions[i].end && length <= regions[i].end - address) return true;
  return false;
}

/// Regions are whole pages, in order, apart from each other, the bootstrap area and the kernel's pages; their paths end; what
/// the header points to lies in one of them.
inline __attribute__((always_inline)) bool good_regions(const wire::ImageHeader& header, const wire::ImageRegion* regions) {
  uint64_t last_end = 0;
  for (uint32_t i = 0; i < header.regions; ++i) {
    const wire::ImageRegion& region = regions[i];
    if (region.start < last_end || !good_region(region, header.vdso_start, header.vdso_end)) return false;
    last_end = region.end;
  }
  uint32_t count = header.regions;
  if (!inside_a_region(header.context, sizeof(Context), regions, count)) return false;
  if (header.threads < 1 || header.threads > kMostThreads) return false;
  if (!inside_a_region(header.thread_list, header.threads * sizeof(void*), regions, count)) return false;
  if (header.tid_field && !inside_a_region(header.tid_field, 4, regions, count)) return false;
  return !header.rseq_area || inside_a_region(header.rseq_area, header.rseq_len, regions, count);
}

/// After the state: a run is whole pages of one region, and behind all runs before it. `from` begins with 0 and is the last run's
/// end.
inline __attribute__((always_inline)) bool good_run(const wire::ImageRun& run, uint64_t* from,
                                                    const wire::ImageRegion* regions, uint32_t count) {
  if (run.part != wire::ImagePart::kPages && run.part != wire::ImagePart::kDrop) return false;
  if (run.addr % kPageSize || run.len % kPageSize || !run.len || run.addr < *from) return false;
  if (!inside_a_region(run.addr, run.len, regions, count)) return false;
  *from = run.addr + run.len;
  return true;
}

}  // namespace msocket::checkpoint
