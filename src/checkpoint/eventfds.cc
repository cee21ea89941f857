// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/eventfds.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cstdint>

#include "src/checkpoint/resources.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"

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

// The number after `name:` in the text; base 10 or 16.
bool field(const char* text, const char* name, unsigned base, uint64_t* value) {
  const char* at = strstr(text, name);
  if (!at) return false;
  at += strlen(name);
  while (*at == ' ' || *at == '\t') ++at;
  *value = 0;
  for (;; ++at) {
    unsigned digit;
    if (*at >= '0' && *at <= '9') digit = static_cast<unsigned>(*at - '0');
    else if (base == 16 && *at >= 'a' && *at <= 'f') digit = static_cast<unsigned>(*at - 'a' + 10);
    else break;
    *value = *value * base + digit;
  }
  return true;
}

}  // namespace

void begin_eventfds() { count = 0; }

void save_eventfd(int fd, Refusal* why) {
  char path[64] = "/proc/self/fdinfo/", text[1024];
  Refusal number;  // its text is a number's digits
  number.add(static_cast<long>(fd));
  memcpy(path + strlen(path), number.text, strlen(number.text) + 1);
  long info = raw::sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  long n = info < 0 ? info : raw::read(static_cast<int>(info), text, sizeof text - 1);
  if (info >= 0) raw::close(static_cast<int>(info));
  Counter counter{};
  counter.fd = fd;
  text[n > 0 ? n : 0] = 0;
  if (count == kMax || !field(text, "eventfd-count:", 16, &counter.value)) {
    why->add("descriptor ");
    why->add(static_cast<long>(fd));
    why->add(" is an eventfd that cannot be read");
    return;
  }
  uint64_t semaphore = 0;
  field(text, "eventfd-id:", 10, &counter.id);
  field(text, "eventfd-semaphore:", 10, &semaphore);
  counter.flags = (raw::fcntl(fd, F_GETFL) & O_NONBLOCK ? EFD_NONBLOCK : 0) |
                  (raw::fcntl(fd, F_GETFD) & FD_CLOEXEC ? EFD_CLOEXEC : 0) | (semaphore ? EFD_SEMAPHORE : 0);
  counters[count++] = counter;
}

bool restore_eventfds(Refusal* why) {
  for (int i = 0; i < count; ++i) {
    const Counter& counter = counters[i];
    int close_on_exec = counter.flags & EFD_CLOEXEC ? O_CLOEXEC : 0;
    int same = 0;
    while (same < i && (!counter.id || counters[same].id != counter.id)) ++same;
    bool good;
    if (same < i) {
      good = raw::dup3(counters[same].fd, counter.fd, close_on_exec) >= 0;
    } else {
      long made = raw::sys(SYS_eventfd2, 0, counter.flags);
      good = made >= 0;
      if (good && made != counter.fd) {
        good = raw::dup3(static_cast<int>(made), counter.fd, close_on_exec) >= 0;
        raw::close(static_cast<int>(made));
      }
      if (good && counter.value) good = raw::write(counter.fd, &counter.value, sizeof counter.value) == sizeof counter.value;
    }
    if (!good) {
      why->add("an eventfd cannot be made again");
      return false;
    }
  }
  count = 0;
  return true;
}

}  // namespace msocket::checkpoint
