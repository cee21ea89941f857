// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/in_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "tests/unit/run_loop.h"

namespace msocket::daemons {
namespace {

/// Takes its time to end, as what removes a file may.
struct Slow {
  std::atomic<bool>& ended;
  std::atomic<bool>& waited_for;
  ~Slow() {
    for (int i = 0; i < 100 && !waited_for; ++i) std::this_thread::sleep_for(Millis(1));
    ended = true;
  }
};

TEST(InThread, WhatTheWorkHeldIsGoneWhenItsWaiterGoesOn) {
  for (bool fails : {false, true}) {
    std::atomic<bool> ended = false, waited_for = false;
    auto held = std::make_shared<Slow>(ended, waited_for);
    asio::io_context io;
    std::string seen;
    std::string why = run_until_done(io, [&]() -> awaitable<void> {
      std::function<void()> work = [held = std::move(held), fails] {
        if (fails) throw std::runtime_error("no");
      };
      try {
        co_await run_in_thread(io.get_executor(), std::move(work));
      } catch (const std::runtime_error& error) {
        seen = error.what();
      }
      EXPECT_TRUE(ended) << "it went on too early";
      waited_for = true;
    });
    EXPECT_EQ(why, "");
    EXPECT_EQ(seen, fails ? "no" : "");
    while (!ended) std::this_thread::yield();  // it looks at what stands here
  }
}

}  // namespace
}  // namespace msocket::daemons
