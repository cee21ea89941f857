// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "src/transport/vsocket.h"

namespace msocket::transport {

/// What a socket that is not in its steady state can say by itself (poll's bits, which are epoll's as well). `ask`: the events
/// that the kernel must still be asked about under this number; 0: none. Lock held.
short own_events(const VSocket* vs, short wanted, short* ask);

inline constexpr int64_t kNsInMs = 1000000;
/// Nanoseconds of the monotonic clock.
int64_t now_ns();

}  // namespace msocket::transport
