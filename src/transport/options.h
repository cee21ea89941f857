// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Socket options and status flags follow the virtual socket from one real socket to the next. They are read from the
// kernel, not recorded at setsockopt(): so whatever set them, they are true. Async-signal-safe.
#pragma once
#include <cstddef>

#include "src/transport/vsocket.h"

namespace msocket::transport {

/// Makes `to` (a TCP socket) like `from`: the options in options.cc's table and O_NONBLOCK.
void copy_options(int from, int to);
/// The same in two steps, with a move to another node in between.
void save_options(int fd, SavedOptions* saved);
void apply_options(const SavedOptions& saved, int fd);
/// How much a fresh connection with this socket's options takes at once, whatever the other end does; at most `most`.
size_t room_when_fresh(int fd, size_t most);

}  // namespace msocket::transport
