// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// SipHash-2-4 with 128 bits of result (Aumasson, Bernstein): the tag of datagrams. Here and not libsodium's, because
// libmsocket uses libc alone. Async-signal-safe.
#pragma once
#include <cstddef>
#include <cstdint>

namespace msocket::transport {

/// Over `head` and then `data`, as if they were one; head_length must be a multiple of 8.
void siphash128(const uint8_t key[16], const void* head, size_t head_length, const void* data, size_t length,
                uint8_t result[16]);

}  // namespace msocket::transport
