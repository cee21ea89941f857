// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Keys and tags (libsodium). The cluster key is shared by one user's masters, daemons and tools; each job's key is derived
// from it one way, so a job's key opens nothing of another's and never travels.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "src/wire/conn_header.h"

namespace msocket::wire {

using Key = std::array<uint8_t, 32>;

/// Must be called once before anything else here; throws std::runtime_error if libsodium cannot start.
void auth_init();
Key random_key();
Nonce random_nonce();
Key derive_key(const Key& cluster, std::string_view purpose);
inline Key job_key(const Key& cluster, std::string_view job) { return derive_key(cluster, "job " + std::string(job)); }
Tag make_tag(const Key& key, std::span<const uint8_t> a, std::span<const uint8_t> b = {}, std::span<const uint8_t> c = {});
/// Constant time.
bool same_tag(const Tag& a, const Tag& b);

/// The bytes of `object` before its last member, the tag.
template <class T>
std::span<const uint8_t> before_tag(const T& object) {
  return {reinterpret_cast<const uint8_t*>(&object), sizeof(T) - sizeof(Tag)};
}
template <class T>
std::span<const uint8_t> bytes_of(const T& object) {
  return {reinterpret_cast<const uint8_t*>(&object), sizeof(T)};
}

/// 64 hexadecimal digits.
std::string key_to_hex(const Key& key);
/// Throws std::runtime_error naming what is wrong.
Key key_from_hex(std::string_view hex);

}  // namespace msocket::wire
