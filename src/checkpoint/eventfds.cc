// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// eventfd counters, and copies of them.
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cstdint>

#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"

namespace msocket::checkpoint {

namespace {

constexpr int kMax = 128;

struct Counter {
  int fd;
  int flags;  ///< for eventfd2
  uint64_t value;
  uint64_t id;  ///< the kernel's number of the counter; duplicates have the same. 0: this kernel does not tell
};
Counter counters[kMax];
int count;

void begin() { count = 0; }

bool claim(const Descriptor& d, Refusal* why) {
  if (strcmp(d.path, "anon_inode:[eventfd]") != 0) return false;
  char text[1024];
  Counter counter{};
  counter.fd = d.fd;
  if (count == kMax || !read_fdinfo(d.fd, text, sizeof text) || !number_after(text, "eventfd-count:", 16, &counter.value)) {
    refuse_descriptor(why, d, " that cannot be read");
    return true;
  }
  uint64_t semaphore = 0;
  number_after(text, "eventfd-id:", 10, &counter.id);
  number_after(text, "eventfd-semaphore:", 10, &semaphore);
  counter.flags = (d.flags & O_NONBLOCK ? EFD_NONBLOCK : 0) | (d.close_on_exec ? EFD_CLOEXEC : 0) | (semaphore ? EFD_SEMAPHORE : 0);
  counters[count++] = counter;
  return true;
}

bool restore(Refusal* why) {
  for (int i = 0; i < count; ++i) {
    const Counter& counter = counters[i];
    int close_on_exec = counter.flags & EFD_CLOEXEC ? O_CLOEXEC : 0;
    int same = 0;
    while (same < i && (!counter.id || counters[same].id != counter.id)) ++same;
    bool good;
    if (same < i) {
      good = raw::dup3(counters[same].fd, counter.fd, close_on_exec) >= 0;
    } else {
      good = put_at(raw::sys(SYS_eventfd2, 0, counter.flags), counter.fd, close_on_exec);
      if (good && counter.value) good = raw::write(counter.fd, &counter.value, sizeof counter.value) == sizeof counter.value;
    }
    if (!good) {
      why->add("an eventfd cannot be made again");
      return false;
    }
  }
  return true;
}

}  // namespace

extern const Resource eventfds;
const Resource eventfds{.begin = begin, .claim = claim, .restore = restore};

}  // namespace msocket::checkpoint
