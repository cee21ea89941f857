// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/in_thread.h"

#include <signal.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

namespace msocket::daemons {

// The daemon's signals are the daemon's.
void in_thread(std::function<void()> work) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread(std::move(work)).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

awaitable<void> run_in_thread(asio::any_io_executor executor, std::function<void()> work) {
  struct State {
    explicit State(asio::any_io_executor e) : changed(e) {}
    Event changed;
    bool done = false;
    std::string why;
  };
  auto state = std::make_shared<State>(executor);
  in_thread([state, executor, work = std::move(work)]() mutable {
    std::string why;
    try {
      work();
    } catch (const std::exception& error) {
      why = error.what();
    }
    work = nullptr;  // what it held must be gone when the one who waits goes on: an unfinished file is removed by its end
    asio::post(executor, [state, why] {
      state->why = why;
      state->done = true;
      state->changed.notify();
    });
  });
  co_await wait_until(state->changed, kForever, [&] { return state->done; });
  if (!state->why.empty()) throw std::runtime_error(state->why);
}

}  // namespace msocket::daemons
