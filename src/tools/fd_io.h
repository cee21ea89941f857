// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Reading and writing descriptors that are not ours alone (a terminal, a pipe to `less`, a regular file) from the event
// loop: the loop never blocks on them, except on a regular file, and what the user's shell shares with us is not left in
// non-blocking mode. Not thread-safe.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "src/wire/async.h"

namespace msocket {

/// Owns its descriptor.
class FdEnd {
 public:
  enum class Use { kRead, kWrite };

  /// Takes `fd` over. `shared`: other processes use the same open file (the user's terminal), so its flags must be as
  /// before when this object goes. A pipe or terminal is opened anew for that; only where this cannot be done (a
  /// socket), O_NONBLOCK is set and taken back.
  FdEnd(asio::any_io_executor executor, int fd, Use use, bool shared);
  ~FdEnd();
  FdEnd(const FdEnd&) = delete;
  FdEnd& operator=(const FdEnd&) = delete;

  /// At most `limit` bytes; empty at the end, and after close(). Errors count as the end.
  awaitable<std::string> read_some(size_t limit);
  /// False: nobody reads any more (or the disk is full), or close() was called.
  awaitable<bool> write_all(std::string data);
  /// Written into a pipe and not yet read by whoever has its other end.
  bool unread() const;
  void close();
  bool open() const { return fd_ >= 0; }

 private:
  bool background_terminal() const;

  int fd_ = -1;
  int restore_flags_ = -1;
  std::unique_ptr<asio::posix::stream_descriptor> stream_;  // none: a regular file, used directly
};

}  // namespace msocket
