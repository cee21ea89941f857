// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/memory_layout.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "src/checkpoint/boot.h"
#include "src/checkpoint/maps.h"

namespace msocket::daemons {

namespace {

using wire::ImageRegion;
using wire::RegionKind;

ImageRegion part_of(const ImageRegion& region, uint64_t start, uint64_t end) {
  ImageRegion part = region;
  if (region.kind == RegionKind::kFile) part.offset += start - region.start;
  part.start = start;
  part.end = end;
  return part;
}

}  // namespace

MemoryAreas copyable_areas(std::string_view text) {
  MemoryAreas found;
  const char *p = text.data(), *end = p + text.size();
  checkpoint::Map map;
  while (checkpoint::next_map(p, end, &map)) {
    if (map.start >= checkpoint::kBootAddress && map.end <= checkpoint::kBootAddress + checkpoint::kBootSize) continue;
    if (path_starts(map, "[vdso]")) found.vdso_start = map.start, found.vdso_end = map.end;
    if (map.shared || !(map.prot & PROT_READ)) continue;
    std::string_view path(map.path, map.path_length);
    ImageRegion region;
    region.start = map.start;
    region.end = map.end;
    region.prot = map.prot;
    if (path == "[stack]") region.kind = RegionKind::kStack;
    else if (path == "[heap]") region.kind = RegionKind::kHeap;
    else if (path.empty() || path.starts_with("[anon:")) region.kind = RegionKind::kAnon;
    else if (path[0] == '/' && !path.ends_with(" (deleted)") && !path.starts_with("/dev/") && !path.starts_with("/memfd:") &&
             path.size() < sizeof region.path) {
      region.kind = RegionKind::kFile;
      region.offset = map.offset;
      memcpy(region.path, path.data(), path.size());
    } else {
      continue;
    }
    found.areas.push_back(region);
  }
  return found;
}

std::vector<PageSet::Run> MemoryLayout::Change::lost() const {
  std::vector<PageSet::Run> all = gone;
  for (const auto& piece : pieces) all.push_back({piece.start, piece.end});
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.start < b.start; });
  return all;
}

MemoryLayout::Change MemoryLayout::update(const std::vector<ImageRegion>& areas) {
  Change change;
  PageSet gone;
  std::vector<PageSet::Run> before, now;
  for (const auto& known : areas_) before.push_back({known.start, known.end});
  for (const auto& area : areas) now.push_back({area.start, area.end});
  gone.add(before);
  gone.remove(now);
  change.gone = gone.runs();
  size_t first = 0;
  for (const auto& area : areas) {
    uint64_t at = area.start;
    while (first < areas_.size() && areas_[first].end <= at) ++first;
    for (size_t i = first; i < areas_.size() && areas_[i].start < area.end; ++i) {
      if (wire::ground_of(areas_[i]) != wire::ground_of(area)) continue;
      uint64_t start = std::max(at, areas_[i].start);
      if (start > at) change.pieces.push_back(part_of(area, at, start));
      at = std::min(area.end, areas_[i].end);
    }
    if (at < area.end) change.pieces.push_back(part_of(area, at, area.end));
  }
  areas_ = areas;
  return change;
}

void MemoryLayout::forget(const std::vector<PageSet::Run>& runs) {
  PageSet gone;
  gone.add(runs);
  std::vector<ImageRegion> left;
  for (const auto& area : areas_)
    gone.each_part(area.start, area.end, [&](uint64_t start, uint64_t end, bool inside) {
      if (!inside) left.push_back(part_of(area, start, end));
    });
  areas_ = std::move(left);
}

bool MemoryLayout::anonymous(uint64_t start, uint64_t end) const {
  auto it = std::upper_bound(areas_.begin(), areas_.end(), start, [](uint64_t a, const auto& area) { return a < area.end; });
  for (; start < end; ++it) {
    if (it == areas_.end() || it->start > start || it->kind == RegionKind::kFile) return false;
    start = it->end;
  }
  return true;
}

}  // namespace msocket::daemons
