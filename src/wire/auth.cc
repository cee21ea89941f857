// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/auth.h"

#include <sodium.h>

#include <stdexcept>

namespace msocket::wire {

void auth_init() {
  if (sodium_init() < 0) throw std::runtime_error("libsodium cannot start (no source of randomness?)");
}

Key random_key() {
  Key key;
  randombytes_buf(key.data(), key.size());
  return key;
}

Nonce random_nonce() {
  Nonce nonce;
  randombytes_buf(nonce.data(), nonce.size());
  return nonce;
}

Key derive_key(const Key& cluster, std::string_view purpose) {
  Key key;
  crypto_generichash(key.data(), key.size(), reinterpret_cast<const uint8_t*>(purpose.data()), purpose.size(),
                     cluster.data(), cluster.size());
  return key;
}

Tag make_tag(const Key& key, std::span<const uint8_t> a, std::span<const uint8_t> b, std::span<const uint8_t> c) {
  crypto_generichash_state state;
  crypto_generichash_init(&state, key.data(), key.size(), sizeof(Tag));
  for (auto part : {a, b, c}) crypto_generichash_update(&state, part.data(), part.size());
  Tag tag;
  crypto_generichash_final(&state, tag.data(), tag.size());
  return tag;
}

bool same_tag(const Tag& a, const Tag& b) { return sodium_memcmp(a.data(), b.data(), a.size()) == 0; }

std::string key_to_hex(const Key& key) {
  std::string hex(key.size() * 2 + 1, '\0');
  sodium_bin2hex(hex.data(), hex.size(), key.data(), key.size());
  hex.pop_back();
  return hex;
}

Key key_from_hex(std::string_view hex) {
  Key key;
  size_t length = 0;
  if (sodium_hex2bin(key.data(), key.size(), hex.data(), hex.size(), " \n\t", &length, nullptr) != 0 ||
      length != key.size())
    throw std::runtime_error("a key is 64 hexadecimal digits");
  return key;
}

}  // namespace msocket::wire
