// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The little that the event loops of daemons, mirror and tools share on top of Boost.Asio's coroutines. One thread runs
// each loop: nothing here is locked.
#pragma once
#include <utility>  // Asio 1.74 uses std::exchange without it

#include <boost/asio.hpp>
#include <chrono>
#include <functional>
#include <string>

namespace msocket {

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using tcp = asio::ip::tcp;
using Millis = std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// Runs `work` beside the caller. An exception that leaves it is given to `failed` (or ignored).
void spawn(asio::any_io_executor executor, std::function<awaitable<void>()> work,
           std::function<void(const std::string&)> failed = {});

/// Resumes after `delay`.
awaitable<void> sleep_for(Millis delay);

/// Something that several coroutines wait for. wait() resumes at the next notify() or at the deadline.
class Event {
 public:
  explicit Event(asio::any_io_executor executor) : timer_(executor) {}
  void notify() { timer_.cancel(); }
  /// True: notified. False: the deadline has passed. Spurious wake-ups are possible: check your condition.
  awaitable<bool> wait(Clock::time_point deadline);

 private:
  asio::steady_timer timer_;
};

/// For what may stand still (SIGSTOP) as long as it likes.
inline constexpr Millis kForever(1000LL * 3600 * 24 * 365);

inline double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

/// Waits until `ready()` holds, checked at every notify of `event`. False when `limit` has passed first.
/// `ready` must capture by reference: GCC 12 destroys a temporary closure in a co_await expression twice.
template <class Ready>
awaitable<bool> wait_until(Event& event, Millis limit, Ready ready) {
  auto deadline = Clock::now() + limit;
  while (!ready()) {
    bool notified = co_await event.wait(deadline);
    if (!notified && Clock::now() >= deadline) co_return ready();
  }
  co_return true;
}

}  // namespace msocket
