// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A dry look at a process: the daemon gives it (kLook) a memory file, the process writes lines into it and answers kLooked. One
// machine, one build: host byte order. See doc/wire-format.md.
//
//   no REASON                          why it cannot move
//   file FLAGS SIZE PATH               what must be there, at that path, as long as this, and open to these flags (octal)
//   peer IP OPENED                     a connection with this virtual address (decimal); OPENED: 1 by this process, 0 by the other
//   pages BYTES REGIONS                what its image would hold (when kLookCount was asked for)
#pragma once
#include <cstdint>

namespace msocket::wire {

inline constexpr uint32_t kLookCount = 1;  ///< kLook, flags: go through the page map, too
inline constexpr unsigned kLookMost = 256 * 1024;

/// What /proc/PID/smaps alone tells of a mapping, and the process had better not read itself: that takes the kernel long. The
/// daemon reads it and gives it along with kLook as a second descriptor, a file of these.
struct MemoryMark {
  uint64_t start = 0, end = 0;
  uint32_t flags = 0;
  uint32_t page_shift = 12;
};
static_assert(sizeof(MemoryMark) == 24);
inline constexpr int kMaxMarks = 1024;

enum : uint32_t {
  kMarkHuge = 1 << 0,        ///< MADV_HUGEPAGE
  kMarkNoHuge = 1 << 1,      ///< MADV_NOHUGEPAGE
  kMarkMergeable = 1 << 2,   ///< MADV_MERGEABLE
  kMarkDontFork = 1 << 3,    ///< MADV_DONTFORK
  kMarkDontDump = 1 << 4,    ///< MADV_DONTDUMP
  kMarkWipeOnFork = 1 << 5,  ///< MADV_WIPEONFORK
  kMarkSequential = 1 << 6,  ///< MADV_SEQUENTIAL
  kMarkRandom = 1 << 7,      ///< MADV_RANDOM
  kMarkLocked = 1 << 8,      ///< mlock
  kMarkOnFault = 1 << 9,     ///< MLOCK_ONFAULT
  kMarkGrowsDown = 1 << 10,  ///< MAP_GROWSDOWN
  kMarkHugeTlb = 1 << 11,    ///< MAP_HUGETLB, pages of 1 << page_shift
};

}  // namespace msocket::wire
