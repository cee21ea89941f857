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
#include "src/checkpoint/image_sum.h"
#include "src/checkpoint/pages.h"
#include "src/checkpoint/tracking.h"
#include "src/transport/raw.h"

namespace msocket::checkpoint {

namespace {

using wire::ImagePart;
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

// Gathers parts and sends many at a time.
class PartSender {
 public:
  explicit PartSender(int fd) : fd_(fd) {}
  void add(ImagePart part, uint64_t addr, uint64_t len) {
    if (count_ == kMost) flush();
    heads_[count_] = {part, addr, len};
    vectors_[2 * count_] = {&heads_[count_], sizeof(ImageRun)};
    vectors_[2 * count_ + 1] = {reinterpret_cast<void*>(addr), part == ImagePart::kPages ? len : 0};
    ++count_;
  }
  long flush() {
    if (result_ == 0 && count_) result_ = write_vectors(fd_, vectors_, 2 * count_);
    count_ = 0;
    return result_;
  }

 private:
  static constexpr int kMost = 64;
  int fd_, count_ = 0;
  long result_ = 0;
  ImageRun heads_[kMost];
  iovec vectors_[2 * kMost];
};

// Pages that this code itself must be able to read while they are sent.
class Readable {
 public:
  explicit Readable(const ImageRegion& region) : region_(region), hidden_(!(region.prot & PROT_READ)) {
    if (hidden_) protect(PROT_READ);
  }
  ~Readable() {
    if (hidden_) protect(region_.prot);
  }
  bool hidden() const { return hidden_; }

 private:
  void protect(uint32_t prot) { raw::sys(SYS_mprotect, region_.start, region_.end - region_.start, prot); }
  const ImageRegion& region_;
  bool hidden_;
};

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
      if (map.shared) region.all = wire::kNoPages;
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

void mark_fresh(const wire::ImageHeader& header, ImageRegion* regions) {
  PageScanner scanner;
  if (scanner.open() != 0) return;
  for (uint32_t i = 0; i < header.regions; ++i)
    if (regions[i].kind == RegionKind::kAnon && !regions[i].all) regions[i].fresh = !scanner.tracked(regions[i].start);
  scanner.close();
}

long write_image(int fd, const wire::ImageHeader& header, const ImageRegion* regions, int sent_fd, bool with_sums) {
  long r = 0;
  if (sent_fd < 0) {
    wire::ImageStart start;
    start.vdso_start = header.vdso_start;
    start.vdso_end = header.vdso_end;
    r = raw::send_all(fd, &start, sizeof start);
  }
  ImageRun state{ImagePart::kState, 0, 0};
  iovec head[] = {{&state, sizeof state},
                  {const_cast<wire::ImageHeader*>(&header), sizeof header},
                  {const_cast<ImageRegion*>(regions), header.regions * sizeof(ImageRegion)}};
  if (r == 0) r = write_vectors(fd, head, 3);
  PageScanner scanner;
  if (r == 0) r = scanner.open();
  SentList sent(sent_fd), none(-1);
  PartSender out(fd);
  for (uint32_t i = 0; i < header.regions && r == 0; ++i) {
    if (regions[i].all == wire::kNoPages) continue;
    Readable readable(regions[i]);
    RegionRest rest(&scanner, regions[i].fresh ? &none : &sent, regions[i]);
    r = rest.each([&](ImagePart part, uint64_t start, uint64_t end) { out.add(part, start, end - start); });
    if (readable.hidden() && r == 0) r = out.flush();
  }
  if (r == 0) r = out.flush();
  LiveStack live(header);
  for (uint32_t i = 0; with_sums && i < header.regions && r == 0; ++i) {
    if (regions[i].all == wire::kNoPages) continue;
    Readable readable(regions[i]);
    out.add(ImagePart::kSum, regions[i].start, sum_of(scanner.fd(), regions[i], live));
  }
  scanner.close();
  if (r == 0) r = out.flush();
  if (r == 0) let_go_of_resources();
  out.add(ImagePart::kEnd, 0, 0);
  return r == 0 ? out.flush() : r;
}

}  // namespace msocket::checkpoint
