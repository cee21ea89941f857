// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/streams.h"

#include <algorithm>
#include <utility>

namespace msocket {

namespace {
constexpr uint64_t kMostHeld = 16 * 1024 * 1024;
constexpr size_t kMostPieces = 16384;
}  // namespace

void StreamOut::append(std::string_view data) {
  if (!eof_) pending_.append(data);
}

void StreamOut::finish() { eof_ = true; }

std::optional<StreamOut::Chunk> StreamOut::next() {
  size_t from = sent_ - base_;
  size_t length = std::min(pending_.size() - from, kStreamChunk);
  bool last = eof_ && !eof_sent_ && sent_ + length == end();
  if (length == 0 && !last) return std::nullopt;
  Chunk chunk{sent_, pending_.substr(from, length), last};
  sent_ += length;
  eof_sent_ |= last;
  return chunk;
}

void StreamOut::ack(uint64_t offset) {
  if (eof_ && offset > end()) eof_acked_ = eof_sent_ = true;
  offset = std::min(offset, end());
  if (offset <= base_) return;
  pending_.erase(0, offset - base_);
  base_ = offset;
  sent_ = std::max(sent_, base_);
}

void StreamOut::rewind() {
  sent_ = base_;
  eof_sent_ = eof_acked_;
}

StreamOut StreamOut::restore(uint64_t offset, std::string pending, bool eof) {
  StreamOut out;
  out.base_ = out.sent_ = offset;
  out.pending_ = std::move(pending);
  out.eof_ = eof;
  return out;
}

void StreamIn::add(uint64_t offset, std::string_view data, bool eof) {
  if (ended()) return;
  // Far above what an honest sender has on its way. Whoever fills the gap sends again what comes after it.
  if (offset > received_ && (offset - received_ > kMostHeld || held_bytes_ + data.size() > kMostHeld)) return;
  if (offset > received_ && held_.size() >= kMostPieces) return;
  if (eof) end_ = offset + data.size();
  if (offset > received_) {
    if (data.empty()) return;
    std::string& held = held_[offset];
    if (held.size() >= data.size()) return;
    held_bytes_ += data.size() - held.size();
    held.assign(data);
    return;
  }
  auto take_over = [this](uint64_t at, std::string_view bytes) {
    if (at + bytes.size() <= received_) return;
    bytes.remove_prefix(received_ - at);
    ready_.append(bytes);
    received_ += bytes.size();
  };
  take_over(offset, data);
  while (!held_.empty() && held_.begin()->first <= received_) {
    take_over(held_.begin()->first, held_.begin()->second);
    held_bytes_ -= held_.begin()->second.size();
    held_.erase(held_.begin());
  }
}

std::string StreamIn::take() { return std::exchange(ready_, {}); }

StreamIn StreamIn::restore(uint64_t offset, std::string pending, bool eof) {
  StreamIn in;
  in.received_ = offset + pending.size();
  in.ready_ = std::move(pending);
  if (eof) in.end_ = in.received_;
  return in;
}

}  // namespace msocket
