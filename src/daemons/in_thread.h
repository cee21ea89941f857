// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Work that may take long (a disk, a large process's page tables) in a thread of its own: the daemon's loop must not wait for it.
#pragma once
#include <functional>

#include "src/wire/async.h"

namespace msocket::daemons {

/// Starts it and forgets it. The daemon's signals stay the daemon's.
void in_thread(std::function<void()> work);
/// Waits for it; its exception is thrown here, as std::runtime_error. By then all that `work` held has been given up.
awaitable<void> run_in_thread(asio::any_io_executor executor, std::function<void()> work);

}  // namespace msocket::daemons
