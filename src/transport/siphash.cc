// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/siphash.h"

#include <string.h>

namespace msocket::transport {

namespace {

struct State {
  uint64_t v0, v1, v2, v3;

  static uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

  void round() {
    v0 += v1, v1 = rotate(v1, 13), v1 ^= v0, v0 = rotate(v0, 32);
    v2 += v3, v3 = rotate(v3, 16), v3 ^= v2;
    v0 += v3, v3 = rotate(v3, 21), v3 ^= v0;
    v2 += v1, v1 = rotate(v1, 17), v1 ^= v2, v2 = rotate(v2, 32);
  }
  void word(uint64_t m) {
    v3 ^= m;
    round();
    round();
    v0 ^= m;
  }
  uint64_t finish() {
    for (int i = 0; i < 4; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

uint64_t load(const uint8_t* at) {  // x86-64: little endian, as SipHash is
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

}  // namespace

void siphash128(const uint8_t key[16], const void* head, size_t head_length, const void* data, size_t length,
                uint8_t result[16]) {
  const uint64_t k0 = load(key), k1 = load(key + 8);
  State s{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d ^ 0xee, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573};
  auto* at = static_cast<const uint8_t*>(head);
  for (size_t i = 0; i < head_length; i += 8) s.word(load(at + i));
  at = static_cast<const uint8_t*>(data);
  size_t whole = length & ~size_t{7};
  for (size_t i = 0; i < whole; i += 8) s.word(load(at + i));
  uint64_t last = static_cast<uint64_t>(head_length + length) << 56;
  for (size_t i = whole; i < length; ++i) last |= static_cast<uint64_t>(at[i]) << (8 * (i - whole));
  s.word(last);
  s.v2 ^= 0xee;
  uint64_t one = s.finish();
  s.v1 ^= 0xdd;
  uint64_t two = s.finish();
  memcpy(result, &one, sizeof one);
  memcpy(result + 8, &two, sizeof two);
}

}  // namespace msocket::transport
