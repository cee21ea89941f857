// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/image_writer.h"

#include <errno.h>
#include <sys/mman.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "src/checkpoint/boot.h"
#include "src/checkpoint/maps.h"
#include "src/checkpoint/pages.h"
#include "src/transport/raw.h"

namespace msocket::checkpoint {

namespace {

using wire::ImageRegion;
using wire::ImageRun;
using wire::RegionKind;

void refuse_map(Refusal* why, const Map& map, const char* reason) {
  char path[160];
  uint32_t n = map.path_length < sizeof path - 1 ? map.path_length : sizeof path - 1;
  memcpy(path, map.path, n);
  path[n] = 0;
  why->add("memory mapped from ");
  why->add(path);
  why->add(reason);
  why->end();
}

// Of a shared mapping that is no room's: nullptr, or why it cannot be mapped again.
const char* why_not_shared(const Map& map) {
  if (path_starts(map, "/SYSV")) return " is System V shared memory";
  if (path_starts(map, "anon_inode:[io_uring]")) return " is a ring of system calls (io_uring)";
  if (path_starts(map, "anon_inode:[perf_event]")) return " is a counter of this node's kernel";
  if (path_starts(map, "/[aio]")) return " is a queue of asynchronous I/O (io_setup)";
  if (path_starts(map, "/anon_hugepage")) return " is shared memory of huge pages";
  bool elsewhere = path_starts(map, "/dev/") || !map.path_length || map.path[0] != '/';
  return elsewhere ? " is shared memory" : nullptr;
}

// Sends whole vectors; TCP takes them in parts.
long write_vectors(int fd, iovec* parts, int count) {
  while (count) {
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    long n = raw::sys(SYS_sendmsg, fd, &message, MSG_NOSIGNAL);
    if (n == -EINTR || n == -EAGAIN) continue;
    if (n < 0) return n;
    while (count && static_cast<size_t>(n) >= parts->iov_len) {
      n -= static_cast<long>(parts->iov_len);
      ++parts;
      --count;
    }
    if (count) {
      parts->iov_base = static_cast<char*>(parts->iov_base) + n;
      parts->iov_len -= n;
    }
  }
  return 0;
}

}  // namespace

bool list_regions(wire::ImageHeader* header, ImageRegion* regions, char* text, unsigned long size, Refusal* why) {
  long length = read_maps(text, size);
  if (length < 0) {
    why->add("its memory map is too long to read");
    why->end();
    return false;
  }
  const char *p = text, *end = text + length;
  Map map;
  header->regions = 0;
  begin_mappings();
  while (next_map(p, end, &map)) {
    if (map.start >= kBootAddress && map.end <= kBootAddress + kBootSize) continue;
    if (path_starts(map, "[vdso]")) {
      header->vdso_start = map.start;
      header->vdso_end = map.end;
      continue;
    }
    if (path_starts(map, "[vvar") || path_starts(map, "[vsyscall]")) continue;
    if (header->regions == wire::kImageMaxRegions) {
      why->add("it has too many separate memory mappings");
      why->end();
      return false;
    }
    ImageRegion& region = regions[header->regions++];
    memset(static_cast<void*>(&region), 0, sizeof region);
    region.start = map.start;
    region.end = map.end;
    region.offset = map.offset;
    region.prot = map.prot;
    region.kind = RegionKind::kAnon;
    if (map.shared) {
      if (claim_mapping(map, &region, why)) continue;
      if (const char* reason = why_not_shared(map)) {
        refuse_map(why, map, reason);
        continue;
      }
    }
    if (path_starts(map, "[stack]")) region.kind = RegionKind::kStack;
    else if (path_starts(map, "[heap]")) region.kind = RegionKind::kHeap;
    else if (map.path_length && map.path[0] == '/') {
      if (path_starts(map, "/anon_hugepage")) continue;  // src/checkpoint/marks.cc
      if (is_deleted(map)) {  // its content travels; only this process has it
        if (map.prot & PROT_EXEC) refuse_map(why, map, " cannot be found again on another node");
        region.all = 1;
        continue;
      }
      if (map.path_length >= sizeof region.path) {
        refuse_map(why, map, ": the path is too long to carry");
        continue;
      }
      region.kind = map.shared ? RegionKind::kSharedFile : RegionKind::kFile;
      memcpy(region.path, map.path, map.path_length);
    }
  }
  return why->empty();
}

void write_back(const wire::ImageHeader& header, const ImageRegion* regions) {
  for (uint32_t i = 0; i < header.regions; ++i)
    if (regions[i].kind == RegionKind::kSharedFile && (regions[i].prot & PROT_WRITE))
      raw::sys(SYS_msync, regions[i].start, regions[i].end - regions[i].start, MS_SYNC);
}

long write_image(int fd, const wire::ImageHeader& header, const ImageRegion* regions, unsigned long* bytes) {
  constexpr int kMost = 64;
  PageRun runs[kMost];
  ImageRun heads[kMost];
  iovec parts[2 * kMost];
  long r = raw::send_all(fd, &header, sizeof header);
  if (r == 0) r = raw::send_all(fd, regions, header.regions * sizeof(ImageRegion));
  *bytes = sizeof header + header.regions * sizeof(ImageRegion);
  PageScanner scanner;
  if (r == 0) r = scanner.open();
  for (uint32_t i = 0; i < header.regions && r == 0; ++i) {
    const ImageRegion& region = regions[i];
    scanner.range(region.start, region.end, region.all);
    bool unreadable = !(region.prot & PROT_READ);
    for (;;) {
      long n = scanner.next(runs, kMost);
      if (n <= 0) {
        r = n;
        break;
      }
      auto at = reinterpret_cast<void*>(region.start);
      if (unreadable) raw::sys(SYS_mprotect, at, region.end - region.start, PROT_READ);
      for (long k = 0; k < n; ++k) {
        heads[k] = {runs[k].start, runs[k].end - runs[k].start};
        parts[2 * k] = {&heads[k], sizeof heads[k]};
        parts[2 * k + 1] = {reinterpret_cast<void*>(runs[k].start), heads[k].len};
        *bytes += sizeof heads[k] + heads[k].len;
      }
      r = write_vectors(fd, parts, static_cast<int>(2 * n));
      if (unreadable) raw::sys(SYS_mprotect, at, region.end - region.start, region.prot);
      if (r < 0) break;
    }
  }
  scanner.close();
  if (r == 0) let_go_of_resources();
  ImageRun end{};
  if (r == 0) r = raw::send_all(fd, &end, sizeof end);
  return r;
}

}  // namespace msocket::checkpoint
