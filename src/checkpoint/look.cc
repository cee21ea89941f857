// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/look.h"

#include <string.h>
#include <sys/mman.h>

#include "src/checkpoint/boot.h"
#include "src/checkpoint/image_writer.h"
#include "src/checkpoint/marks.h"
#include "src/checkpoint/pages.h"
#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"
#include "src/transport/runtime.h"
#include "src/transport/watches.h"
#include "src/wire/look.h"

namespace msocket::checkpoint {

namespace {

int to;

void say(const char* words) { raw::write_all(to, words, strlen(words)); }

void say_number(long number, unsigned base) {
  char digits[32];
  int at = sizeof digits;
  digits[--at] = 0;
  auto rest = static_cast<unsigned long>(number);
  do digits[--at] = static_cast<char>('0' + rest % base);
  while (rest /= base);
  say(digits + at);
}

void say_file(const char* path, int flags, int64_t size) {
  // A line is a line: such a name is looked at when it is opened.
  if (strchr(path, '\n')) return;
  say("file ");
  say_number(flags, 8);
  say(" ");
  say_number(size, 10);
  say(" ");
  say(path);
  say("\n");
}

// Files that it has mapped, but for programs and libraries: those are compared by their build ids.
void say_mapped_files(const wire::ImageHeader& header, const wire::ImageRegion* regions) {
  for (uint32_t i = 0; i < header.regions; ++i) {
    const wire::ImageRegion& region = regions[i];
    if (!region.path[0] || (i && strcmp(region.path, regions[i - 1].path) == 0)) continue;
    bool code = false;
    for (uint32_t k = 0; k < header.regions && !code; ++k)
      code = (regions[k].prot & PROT_EXEC) && strcmp(regions[k].path, region.path) == 0;
    bool written = region.kind == wire::RegionKind::kSharedFile && (region.prot & PROT_WRITE);
    if (!code) say_file(region.path, written ? O_RDWR : O_RDONLY, 0);
  }
}

// So that the new ones can stand by. What is on its way has no end yet that could be told.
void say_peers() {
  constexpr int kMost = 4096;
  int said = 0;
  transport::for_each_vsocket([&](transport::VSocket* vs) {
    bool moves = vs->state >= transport::ConnState::kEstablished && vs->datagram == transport::Datagram::kNo && !vs->broken;
    if (!moves || vs->orphan || said++ >= kMost) return;
    say("peer ");
    say_number(vs->peer.ip, 10);
    say(vs->connector ? " 1\n" : " 0\n");
  });
}

void say_pages(const wire::ImageHeader& header, const wire::ImageRegion* regions) {
  constexpr int kMost = 64;
  PageRun runs[kMost];
  PageScanner scanner;
  if (scanner.open() < 0) return;
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < header.regions; ++i) {
    if (regions[i].all == wire::kNoPages) continue;
    scanner.range(regions[i].start, regions[i].end, regions[i].all);
    for (long n; (n = scanner.next(runs, kMost)) > 0;)
      for (long k = 0; k < n; ++k) bytes += runs[k].end - runs[k].start;
  }
  scanner.close();
  say("pages ");
  say_number(static_cast<long>(bytes), 10);
  say(" ");
  say_number(static_cast<long>(header.regions), 10);
  say("\n");
}

Refusal why;  // too large for a signal's stack

}  // namespace

void look(int report, int marks_fd, uint32_t flags) {
  to = report;
  read_marks(marks_fd);
  Boot* b = boot();
  why.text[0] = 0;
  int own[] = {report, marks_fd, transport::rt.control_fd, transport::rt.mirror_fd};
  if (!transport::save_epolls()) why.add("its epoll sets hold more than can be noted");
  why.end();
  look_at_resources(own, 4, &why);
  list_regions(&b->header, b->regions, b->maps_text, sizeof b->maps_text, &why);
  for (char* at = why.text; *at;) {
    char* end = strchr(at, '\n');
    if (end) *end = 0;
    say("no ");
    say(at);
    say("\n");
    if (!end) break;
    at = end + 1;
  }
  say_peers();
  list_needs({say_file});
  say_mapped_files(b->header, b->regions);
  Dumpable dumpable;
  if (flags & wire::kLookCount) say_pages(b->header, b->regions);
}

}  // namespace msocket::checkpoint
