// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Records with descriptors over SOCK_SEQPACKET sockets: the control channel, listener channels, the mirror's mailbox.
// Async-signal-safe. Descriptors that arrive are close-on-exec and belong to the caller.
#pragma once
#include <cstddef>

#include "src/wire/control.h"

namespace msocket::transport {

/// Sends one record with up to kMaxControlFds descriptors (which stay the caller's). Waits for room. 0 or -errno.
long send_record(int fd, const void* record, size_t length, const int* fds = nullptr, int count = 0);
inline long send_control(int fd, const wire::ControlRecord& record, const int* fds = nullptr, int count = 0) {
  return send_record(fd, &record, sizeof record, fds, count);
}

/// Receives one record of exactly `length` bytes. `fds` has room for kMaxControlFds; *count says how many came.
/// Returns 0, -EAGAIN when nothing is there (dont_wait), -EPIPE at the end, -EBADMSG for a record of another size.
long receive_record(int fd, void* record, size_t length, int* fds, int* count, bool dont_wait);

}  // namespace msocket::transport
