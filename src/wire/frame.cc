// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/frame.h"

#include <cstring>

namespace msocket::wire {

namespace {
constexpr size_t kOverhead = crypto_secretstream_xchacha20poly1305_ABYTES;
const uint8_t* bytes(const void* data) { return static_cast<const uint8_t*>(data); }
}  // namespace

FrameStart FrameSealer::begin(const Key& key) {
  FrameStart start;
  crypto_secretstream_xchacha20poly1305_init_push(&state_, start.data(), key.data());
  return start;
}

std::string FrameSealer::seal(const proto::Envelope& envelope) {
  std::string plain;
  envelope.SerializeToString(&plain);
  uint32_t length = plain.size() + kOverhead;
  std::string frame(sizeof length + length, '\0');
  std::memcpy(frame.data(), &length, sizeof length);
  crypto_secretstream_xchacha20poly1305_push(&state_, reinterpret_cast<uint8_t*>(frame.data()) + sizeof length, nullptr,
                                             bytes(plain.data()), plain.size(), bytes(&length), sizeof length, 0);
  return frame;
}

void FrameOpener::begin(const Key& key, const FrameStart& start) {
  if (crypto_secretstream_xchacha20poly1305_init_pull(&state_, start.data(), key.data()) != 0)
    throw Stranger(Reason::kSeal);
}

size_t FrameOpener::check_length(uint32_t length) {
  if (length < kOverhead || length > kMaxFrame) throw Stranger(Reason::kFrame);
  return length;
}

proto::Envelope FrameOpener::open(const std::string& sealed) {
  uint32_t length = check_length(sealed.size());
  std::string plain(length - kOverhead, '\0');
  uint8_t tag = 0;
  if (crypto_secretstream_xchacha20poly1305_pull(&state_, reinterpret_cast<uint8_t*>(plain.data()), nullptr, &tag,
                                                 bytes(sealed.data()), sealed.size(), bytes(&length), sizeof length) != 0)
    throw Stranger(Reason::kSeal);
  return parse(plain);
}

proto::Envelope FrameOpener::parse(const std::string& plain) {
  proto::Envelope envelope;
  if (!envelope.ParseFromString(plain)) throw Stranger(Reason::kSeal);
  return envelope;
}

}  // namespace msocket::wire
