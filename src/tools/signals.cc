// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/signals.h"

#include <linux/close_range.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace msocket {

namespace {
int open_signals(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int signo : signals) sigaddset(&set, signo);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}
}  // namespace

SignalSource::SignalSource(asio::any_io_executor executor, std::initializer_list<int> signals)
    : stream_(executor, open_signals(signals)) {}

SignalSource::~SignalSource() = default;

awaitable<signalfd_siginfo> SignalSource::next() {
  signalfd_siginfo info{};
  while (read(stream_.native_handle(), &info, sizeof info) != sizeof info)
    co_await stream_.async_wait(asio::posix::stream_descriptor::wait_read, use_awaitable);
  co_return info;
}

bool SignalSource::from_terminal(const signalfd_siginfo& info) { return info.ssi_code == SI_KERNEL; }

void prepare_child() {
  close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int signo : {SIGPIPE, SIGTTIN}) signal(signo, SIG_DFL);
}

void end_like(int wait_status) {
  if (!WIFSIGNALED(wait_status)) _exit(WEXITSTATUS(wait_status));
  int signo = WTERMSIG(wait_status);
  rlimit no_core{0, 0};  // the program's own core, if any, lies on its node
  setrlimit(RLIMIT_CORE, &no_core);
  signal(signo, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signo);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  raise(signo);
  _exit(128 + signo);
}

}  // namespace msocket
