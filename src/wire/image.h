// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The process image as a stream: a start, what was copied while the process ran, then (frozen) header and regions, the rest of
// the pages, the end mark. Host byte order: the start refuses a stranger. The format in prose: doc/image-format.md.
#pragma once
#include <cstdint>

namespace msocket::wire {

inline constexpr uint64_t kImageMagic = 0x31676d4974656b73;  // "sketImg1"
inline constexpr uint32_t kImageVersion = 3;
inline constexpr uint32_t kImageMaxRegions = 2048;
inline constexpr uint32_t kImagePathMax = 200;

/// The stream's first bytes: enough to know whether the rest can be read.
struct ImageStart {
  uint64_t magic = kImageMagic;
  uint32_t version = kImageVersion;
  uint32_t page_size = 4096;
  uint64_t vdso_start = 0, vdso_end = 0;
};

/// Everything the restorer needs besides memory. All addresses are the process's own.
struct ImageHeader {
  uint64_t magic = kImageMagic;
  uint32_t version = kImageVersion;
  uint32_t page_size = 4096;
  uint32_t regions = 0;
  uint32_t threads = 1;
  uint64_t vdso_start = 0, vdso_end = 0;
  uint64_t brk_end = 0;
  uint64_t context = 0;      ///< address of the saved transport::arch::Context
  uint64_t fs_base = 0;
  uint64_t gs_base = 0;
  uint64_t tid_field = 0;    ///< where libc caches the thread id, 0 if it does not
  uint64_t clear_tid = 0;    ///< set_tid_address
  uint64_t robust_head = 0, robust_len = 0;
  uint64_t rseq_area = 0;
  uint32_t rseq_len = 0, rseq_sig = 0;
  uint64_t thread_list = 0;  ///< address of an array of addresses of checkpoint::ThreadState; the first thread's first
};

enum class RegionKind : uint32_t { kAnon = 0, kFile = 1, kStack = 2, kHeap = 3, kSharedFile = 4 };

/// Of ImageRegion::all: the content comes otherwise (a shared file has it, or a room of src/checkpoint).
inline constexpr uint32_t kNoPages = 2;

struct ImageRegion {
  uint64_t start = 0, end = 0;
  uint64_t offset = 0;
  uint32_t prot = 0;
  RegionKind kind{};
  uint32_t all = 0;   ///< 1: every page is in the stream, also those that the process has not changed; kNoPages: none
  uint32_t fresh = 0; ///< nothing that was sent before the state is of use: to be mapped anew, in one piece
  char path[kImagePathMax] = {};  ///< of a mapped file, NUL-terminated
};
static_assert(sizeof(ImageRegion) == 240);

/// What follows in the stream.
enum class ImagePart : uint64_t {
  kEnd = 0,     ///< nothing: the image is complete
  kPages = 1,   ///< `len` bytes for `addr`; of a page that comes again the last counts
  kState = 2,   ///< an ImageHeader and its regions. What came before was copied from a running process
  kRegion = 3,  ///< before kState: an ImageRegion; make room for its pages
  kDrop = 4,    ///< [addr, addr + len) holds nothing of its own any more, whatever came before
  kSum = 5,     ///< `len` is the sum of the content of the region that begins at `addr` (MSOCKET_CHECK_IMAGE)
  kSync = 6,    ///< before kState: to be sent back, this ImageRun as it is, when all before it has been taken
};

struct ImageRun {
  ImagePart part{};
  uint64_t addr = 0;
  uint64_t len = 0;
};
static_assert(sizeof(ImageRun) == 24);

/// What lies under the pages of a region: memory, the stack, or a file at some distance. Where that is another the new process
/// maps the place anew, and what was sent into it before is lost. 0: nothing that is sent before the freeze.
inline uint64_t ground_of(const ImageRegion& region) {
  if (region.kind == RegionKind::kAnon || region.kind == RegionKind::kHeap) return 1;  // the heap's name comes and goes
  if (region.kind == RegionKind::kStack) return 2;
  if (region.kind != RegionKind::kFile) return 0;
  uint64_t sum = region.start - region.offset;
  for (const char* p = region.path; *p; ++p) {
    sum = (sum ^ static_cast<unsigned char>(*p)) * 0x9e3779b97f4a7c15u;
    sum ^= sum >> 29;
  }
  return sum | 4;
}

/// Pages [start, end) that have been sent before the freeze: what the daemon tells the process about them.
struct SentRun {
  uint64_t start = 0, end = 0;
  uint64_t ground = 0;  ///< into what they were sent: ground_of()
};
static_assert(sizeof(SentRun) == 24);

}  // namespace msocket::wire
