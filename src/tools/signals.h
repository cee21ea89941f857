// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Signals as events of the loop, with their origin: one that the terminal sends goes to every process in the foreground
// and must not be forwarded to a child there; one that kill(2) sends comes to us alone.
#pragma once
#include <sys/signalfd.h>

#include <initializer_list>

#include "src/wire/async.h"

namespace msocket {

class SignalSource {
 public:
  /// Blocks the signals for this process; make it before any child or thread. One at a time.
  SignalSource(asio::any_io_executor executor, std::initializer_list<int> signals);
  ~SignalSource();

  awaitable<signalfd_siginfo> next();
  static bool from_terminal(const signalfd_siginfo& info);

 private:
  asio::posix::stream_descriptor stream_;
};

/// In a child between fork and exec: the signal state that programs expect, and no descriptor of ours above 2 (Asio's
/// sockets are not close-on-exec; a link held open by a child would hide our end from the daemons).
void prepare_child();

/// Ends this process as a child with that wait status ended: same exit status, or killed by the same signal.
[[noreturn]] void end_like(int wait_status);

}  // namespace msocket
