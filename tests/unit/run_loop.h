// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Runs a coroutine as a test's body.
#pragma once
#include <string>

#include "src/wire/async.h"

namespace msocket {

/// Runs the loop until `work` has ended. Returns what it threw; "" when nothing, "no end" when `limit` has passed first.
inline std::string run_until_done(asio::io_context& io, std::function<awaitable<void>()> work,
                                  Millis limit = Millis(20000)) {
  std::string outcome = "no end";
  auto shared = std::make_shared<std::function<awaitable<void>()>>(std::move(work));
  spawn(
      io.get_executor(),
      [&io, &outcome, shared]() -> awaitable<void> {
        co_await (*shared)();
        outcome.clear();
        io.stop();
      },
      [&io, &outcome](const std::string& why) {
        outcome = why;
        io.stop();
      });
  io.restart();
  io.run_for(limit);
  return outcome;
}

}  // namespace msocket
