// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// signalfd: which signals it reads.
#include <fcntl.h>
#include <string.h>
#include <sys/signalfd.h>

#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"

namespace msocket::checkpoint {

namespace {

constexpr int kMax = 64;

struct {
  int fd, same_as, flags;
  bool close_on_exec;
  uint64_t mask;
} list[kMax];
int count;

void begin() { count = 0; }

bool claim(const Descriptor& d, Refusal* why) {
  if (strcmp(d.path, "anon_inode:[signalfd]") != 0) return false;
  char text[1024];
  uint64_t mask;
  if (count == kMax || !read_fdinfo(d.fd, text, sizeof text) || !number_after(text, "sigmask:", 16, &mask)) {
    refuse_descriptor(why, d, " that cannot be read");
    return true;
  }
  int same = 0;
  while (same < count && !same_description(list[same].fd, d.fd)) ++same;
  list[count] = {d.fd, same < count ? same : -1, d.flags, d.close_on_exec, mask};
  ++count;
  return true;
}

bool restore(Refusal* why) {
  for (int i = 0; i < count; ++i) {
    const auto& one = list[i];
    bool good = one.same_as >= 0
                    ? raw::dup3(list[one.same_as].fd, one.fd, one.close_on_exec ? O_CLOEXEC : 0) >= 0
                    : put_at(raw::sys(SYS_signalfd4, -1, &one.mask, 8, one.flags & O_NONBLOCK ? SFD_NONBLOCK : 0), one.fd,
                             one.close_on_exec);
    if (!good) {
      why->add("a signalfd cannot be made again");
      return false;
    }
  }
  return true;
}

}  // namespace

extern const Resource signalfds;
const Resource signalfds{.begin = begin, .claim = claim, .restore = restore};

}  // namespace msocket::checkpoint
