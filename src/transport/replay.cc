// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/replay.h"

#include <string.h>
#include <sys/mman.h>

#include "src/transport/raw.h"

namespace msocket::transport {

size_t ReplayTable::slot(uint16_t local_port, const Endpoint& from, size_t probe) const {
  uint64_t name = static_cast<uint64_t>(from.ip) << 32 | static_cast<uint64_t>(from.port) << 16 | local_port;
  return ((name * 0x9e3779b97f4a7c15u >> 40) + probe) & (size_ - 1);
}

ReplayTable::Source* ReplayTable::find(uint16_t local_port, const Endpoint& from) const {
  for (size_t probe = 0; probe < kProbes && size_; ++probe) {
    Source* s = &sources_[slot(local_port, from, probe)];
    if (s->heard && s->ip == from.ip && s->port == from.port && s->local_port == local_port) return s;
  }
  return nullptr;
}

bool ReplayTable::grow() {
  size_t size = size_ ? size_ * 2 : kFirst;
  if (size > kMaxSources) return false;
  void* at = raw::mmap(nullptr, size * sizeof(Source), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (raw::failed(at)) return false;
  ReplayTable bigger;
  bigger.sources_ = static_cast<Source*>(at);
  bigger.size_ = size;
  for (size_t i = 0; i < size_; ++i) {
    if (!sources_[i].heard) continue;
    // In the table twice as large every source finds a place among its first probes but in freak cases: then it is forgotten.
    for (size_t probe = 0; probe < kProbes; ++probe) {
      Source* to = &bigger.sources_[bigger.slot(sources_[i].local_port, {sources_[i].ip, sources_[i].port}, probe)];
      if (to->heard) continue;
      *to = sources_[i];
      ++bigger.count_;
      break;
    }
  }
  if (sources_) raw::munmap(sources_, size_ * sizeof(Source));
  sources_ = bigger.sources_;
  size_ = bigger.size_;
  count_ = bigger.count_;
  return true;
}

ReplayTable::Source* ReplayTable::make(uint16_t local_port, const Endpoint& from) {
  for (;;) {
    Source* oldest = nullptr;
    for (size_t probe = 0; probe < kProbes && size_; ++probe) {
      Source* s = &sources_[slot(local_port, from, probe)];
      if (!oldest || s->heard < oldest->heard) oldest = s;
    }
    if ((!oldest || oldest->heard) && grow()) continue;
    if (!oldest) return nullptr;
    if (!oldest->heard) ++count_;
    memset(static_cast<void*>(oldest), 0, sizeof *oldest);
    oldest->ip = from.ip;
    oldest->port = from.port;
    oldest->local_port = local_port;
    return oldest;
  }
}

bool ReplayTable::fresh(uint16_t local_port, const Endpoint& from, uint64_t counter) const {
  const Source* s = find(local_port, from);
  if (!s || counter > s->highest) return true;
  if (s->highest - counter >= kWindow) return false;
  unsigned at = counter % kWindow;
  return !(s->seen[at / 64] >> (at % 64) & 1);
}

bool ReplayTable::take(uint16_t local_port, const Endpoint& from, uint64_t counter) {
  Source* s = find(local_port, from);
  bool first = !s;
  if (first && !(s = make(local_port, from))) return false;
  s->heard = ++stamp_;
  if (first || counter > s->highest) {
    if (first || counter - s->highest >= kWindow) {
      memset(s->seen, 0, sizeof s->seen);
    } else {
      for (uint64_t c = s->highest + 1; c != counter; ++c) s->seen[c % kWindow / 64] &= ~(uint64_t{1} << (c % 64));
    }
    s->highest = counter;
  }
  s->seen[counter % kWindow / 64] |= uint64_t{1} << (counter % 64);
  return true;
}

bool ReplayTable::save(bool (*put)(const void*, size_t)) const {
  uint64_t count = count_;
  bool good = put(&count, sizeof count);
  for (size_t i = 0; i < size_ && good; ++i)
    if (sources_[i].heard) good = put(&sources_[i], sizeof sources_[i]);
  return good;
}

bool ReplayTable::load(bool (*get)(void*, size_t)) {
  uint64_t count;
  if (!get(&count, sizeof count)) return false;
  for (; count; --count) {
    Source source;
    if (!get(&source, sizeof source)) return false;
    Source* s = make(source.local_port, {source.ip, source.port});
    if (!s) return false;
    *s = source;
    if (stamp_ < source.heard) stamp_ = source.heard;
  }
  return true;
}

void ReplayTable::clear() {
  if (sources_) raw::munmap(sources_, size_ * sizeof(Source));
  *this = {};
}

}  // namespace msocket::transport
