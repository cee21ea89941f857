// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/place_cache.h"

namespace msocket::transport {

PlaceEntry* PlaceCache::find(const Endpoint& to) {
  for (PlaceEntry& entry : entries_[set_of(to)]) {
    if (entry.state == PlaceEntry::kEmpty || entry.to != to) continue;
    entry.used = ++stamp_;
    return &entry;
  }
  return nullptr;
}

PlaceEntry* PlaceCache::make(const Endpoint& to) {
  if (PlaceEntry* entry = find(to)) return entry;
  PlaceEntry* chosen = nullptr;
  for (PlaceEntry& entry : entries_[set_of(to)])
    if (!chosen || entry.used < chosen->used) chosen = &entry;
  *chosen = {};
  chosen->to = to;
  chosen->used = ++stamp_;
  return chosen;
}

void PlaceCache::clear() {
  for (auto& set : entries_)
    for (PlaceEntry& entry : set) entry = {};
}

}  // namespace msocket::transport
