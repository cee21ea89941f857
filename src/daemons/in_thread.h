// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Work that may take long, beside the daemon's loop.
#pragma once
#include <functional>

#include "src/wire/async.h"

namespace msocket::daemons {

/// Starts it, and does not wait.
void in_thread(std::function<void()> work);
/// Runs `work` in a thread and waits for it; its exception is thrown here, as a std::runtime_error.
awaitable<void> run_in_thread(asio::any_io_executor executor, std::function<void()> work);

}  // namespace msocket::daemons
