// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The simulated kernel's calls on descriptors, in parts (calls.cc, waits.cc).
#pragma once
#include <sys/epoll.h>

#include <poll.h>

#include "tests/sim/kernel.h"

namespace msocket::sim {

/// Set by a call that has to wait: when to try again.
struct Waits {
  std::function<bool()> until;
};

/// Descriptors and their flags. -ENOSYS: no such call.
long file_call(long nr, const long* a);
/// An epoll set. As in the kernel an entry is for what was under a number when it was added, and goes with the last
/// descriptor of that.
struct Epoll : File {
  struct Entry {
    int fd;
    std::weak_ptr<File> file;
    epoll_event asked;
    uint64_t seen;  ///< File::news when it was last reported
    bool fresh;     ///< to be looked at although nothing new has come
  };
  short events() const override { return ready(nullptr, 1) ? POLLIN : 0; }
  /// How many events there are; with `events` they are taken.
  int ready(epoll_event* events, int most) const;
  mutable std::vector<Entry> entries;
};
long epoll_control(const FilePtr& set, const long* a);

/// A file of /proc/self/fdinfo.
struct Text : File {
  explicit Text(std::string t) : text(std::move(t)) {}
  short events() const override { return POLLIN; }
  long read(char* data, size_t length);
  std::string text;
};
long open_fdinfo(Proc* proc, const std::string& path);

/// poll, select, epoll_wait.
long wait_call(long nr, const long* a, Waits* waits);
/// Bytes, records, and the above. `done`: bytes that a blocking write has already got rid of.
long io_call(long nr, const long* a, size_t& done, Waits* waits);

}  // namespace msocket::sim
