// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The sealed frames of a link (doc/wire-format.md), without their I/O (link.h).
#pragma once
#include <sodium.h>

#include <array>
#include <cstdint>
#include <string>

#include "src/wire/auth.h"
#include "src/wire/msocket.pb.h"
#include "src/wire/stranger.h"

namespace msocket::wire {

/// A handover carries at most the un-acknowledged output of a rank; 16 MiB is far above any honest frame.
inline constexpr uint32_t kMaxFrame = 16 * 1024 * 1024;
using FrameStart = std::array<uint8_t, crypto_secretstream_xchacha20poly1305_HEADERBYTES>;

class FrameSealer {
 public:
  /// What the other end's FrameOpener begins with.
  FrameStart begin(const Key& key);
  /// Length and sealed envelope, as they go over the wire.
  std::string seal(const proto::Envelope& envelope);

 private:
  crypto_secretstream_xchacha20poly1305_state state_{};
};

class FrameOpener {
 public:
  /// Throws Stranger, as all of these.
  void begin(const Key& key, const FrameStart& start);
  /// The u32 in front of a frame: how many bytes follow it.
  static size_t check_length(uint32_t length);
  proto::Envelope open(const std::string& sealed);
  /// What was inside a frame.
  static proto::Envelope parse(const std::string& plain);

 private:
  crypto_secretstream_xchacha20poly1305_state state_{};
};

}  // namespace msocket::wire
