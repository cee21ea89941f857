// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/async.h"

#include <memory>

namespace msocket {

namespace {
// The function object must outlive the coroutine that its call operator is, so it travels as the coroutine's parameter.
awaitable<void> run(std::shared_ptr<std::function<awaitable<void>()>> work,
                    std::function<void(const std::string&)> failed) {
  std::string why;
  try {
    co_await (*work)();
    co_return;
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (failed) failed(why);
}
}  // namespace

void spawn(asio::any_io_executor executor, std::function<awaitable<void>()> work,
           std::function<void(const std::string&)> failed) {
  auto shared = std::make_shared<std::function<awaitable<void>()>>(std::move(work));
  asio::co_spawn(executor, run(std::move(shared), std::move(failed)), asio::detached);
}

awaitable<void> sleep_for(Millis delay) {
  asio::steady_timer timer(co_await asio::this_coro::executor, delay);
  co_await timer.async_wait(use_awaitable);
}

awaitable<bool> Event::wait(Clock::time_point deadline) {
  // A timer per waiter would free us from this rule: the deadline of a shared timer may only come closer, or the waiters
  // already there would be woken; they check their condition again, so that costs nothing but a turn.
  if (timer_.expiry() <= Clock::now() || deadline < timer_.expiry()) timer_.expires_at(deadline);
  boost::system::error_code error;
  co_await timer_.async_wait(asio::redirect_error(use_awaitable, error));
  co_return error == asio::error::operation_aborted;
}

}  // namespace msocket
