// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A process image's header, regions and page runs, and the text of /proc/self/maps. What the check lets through must be safe to
// map, to fill and to jump to.
#include <vector>

#include "src/checkpoint/image_check.h"
#include "src/checkpoint/maps.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using namespace msocket::checkpoint;
using fuzz::must;

namespace {
// What comes while the process still runs. False: the restorer would end here.
bool read_early(fuzz::Input& input, uint64_t vdso_start, uint64_t vdso_end) {
  while (input.left() >= sizeof(wire::ImageRun)) {
    wire::ImageRun run;
    input.take(&run, sizeof run);
    if (run.part == wire::ImagePart::kState) return true;
    if (run.part == wire::ImagePart::kSync) continue;  // goes back as it came
    wire::ImageRegion piece;
    if (run.part == wire::ImagePart::kRegion) {
      input.take(&piece, sizeof piece);
      if (!good_region(piece, vdso_start, vdso_end)) return false;
      must(strnlen(piece.path, sizeof piece.path) < sizeof piece.path, "a path ends");
      run.addr = piece.start;
      run.len = piece.end - piece.start;
    } else if ((run.part != wire::ImagePart::kPages && run.part != wire::ImagePart::kDrop) ||
               !good_place(run.addr, run.len, vdso_start, vdso_end)) {
      return false;
    }
    must(run.len && run.addr + run.len > run.addr && run.addr + run.len <= kUserEnd, "a run does not wrap");
    must(run.addr + run.len <= kBootAddress || run.addr >= kBootAddress + kBootSize, "the restorer is not overwritten");
    must(run.addr + run.len <= vdso_start || run.addr >= vdso_end, "nor the vdso");
  }
  return false;
}

void read_image(fuzz::Input& input) {
  wire::ImageStart start;
  std::memset(static_cast<void*>(&start), 0, sizeof start);
  input.take(&start, sizeof start);
  if (why_not_start(start) || !read_early(input, start.vdso_start, start.vdso_end)) return;
  wire::ImageHeader header;
  std::memset(static_cast<void*>(&header), 0, sizeof header);
  input.take(&header, sizeof header);
  if (why_not_header(header)) return;
  must(header.regions <= wire::kImageMaxRegions, "the table has room");
  std::vector<wire::ImageRegion> regions(header.regions);
  for (auto& region : regions) input.take(&region, sizeof region);
  if (!good_regions(header, regions.data())) return;
  for (size_t i = 0; i < regions.size(); ++i) {
    const auto& region = regions[i];
    must(region.start < region.end && region.end <= kUserEnd, "a region is memory of a program");
    must(region.end <= kBootAddress || region.start >= kBootAddress + kBootSize, "the restorer is not overwritten");
    must(strnlen(region.path, sizeof region.path) < sizeof region.path, "a path ends");
    if (i) must(regions[i - 1].end <= region.start, "regions are apart");
  }
  uint64_t filled = 0, bytes = 0;
  while (input.left() >= sizeof(wire::ImageRun)) {
    wire::ImageRun run;
    input.take(&run, sizeof run);
    if (!good_run(run, &filled, regions.data(), header.regions)) return;
    must(run.addr + run.len > run.addr, "a run does not wrap");
    bool inside = false;
    for (const auto& region : regions) inside |= run.addr >= region.start && run.addr + run.len <= region.end;
    must(inside, "a run has a region");
    bytes += run.len;
  }
  must(bytes <= kUserEnd, "no page is filled twice");
}

void read_text(const std::string& text) {
  const char *p = text.data(), *end = p + text.size();
  Map map;
  size_t lines = 0;
  while (next_map(p, end, &map)) {
    must(map.path >= text.data() && map.path + map.path_length < end, "a path lies in its line");
    path_starts(map, "[vdso]");
    ++lines;
  }
  must(p <= end && lines <= text.size(), "lines end");
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  if (input.number<uint8_t>() % 2) read_text(input.rest());
  else read_image(input);
  return 0;
}
