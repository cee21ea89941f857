// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What the daemon has provided: the standard streams and PMI, under whatever numbers the program has them now.
#include <fcntl.h>

#include "src/checkpoint/resources.h"
#include "src/transport/exec.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/wire/control.h"

namespace msocket::checkpoint {

namespace {

constexpr int kProvided = wire::kPmiFd + 1, kMax = 256;

struct {
  uint64_t device, inode;
} provided[kProvided];

struct {
  int fd, stream, flags;
  bool close_on_exec;
} uses[kMax];
int count;

void note_stream(int which, int fd) {
  struct stat st;
  bool there = fd >= 0 && raw::sys(SYS_fstat, fd, &st) == 0;
  bool stream = there && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
  provided[which] = {stream ? static_cast<uint64_t>(st.st_dev) : 0, stream ? static_cast<uint64_t>(st.st_ino) : 0};
}

void start() {
  for (int fd = 0; fd < kProvided; ++fd) note_stream(fd, fd);
}

void over_exec() { transport::goes_over_exec(provided, sizeof provided); }

void begin() { count = 0; }

bool claim(const Descriptor& d, Refusal* why) {
  for (int i = 0; i < kProvided; ++i) {
    if (!provided[i].inode || provided[i].inode != d.st.st_ino || provided[i].device != d.st.st_dev) continue;
    if (count == kMax) refuse_descriptor(why, d, ", one copy too many");
    else uses[count++] = {d.fd, i, d.flags, d.close_on_exec};
    return true;
  }
  return false;
}

bool restore(Refusal*) {
  // Out of the way first, then each where the program has it.
  int stream[kProvided];
  for (int i = 0; i < kProvided; ++i) {
    stream[i] = static_cast<int>(raw::fcntl(i, F_DUPFD_CLOEXEC, transport::rt.high_from));
    raw::close(i);
    note_stream(i, stream[i]);
  }
  for (int i = 0; i < count; ++i) {
    if (stream[uses[i].stream] < 0) continue;
    raw::dup3(stream[uses[i].stream], uses[i].fd, uses[i].close_on_exec ? O_CLOEXEC : 0);
    raw::fcntl(uses[i].fd, F_SETFL, uses[i].flags & (O_NONBLOCK | O_APPEND));
  }
  for (int fd : stream)
    if (fd >= 0) raw::close(fd);
  return true;
}

}  // namespace

extern const Resource streams;
const Resource streams{.start = start, .over_exec = over_exec, .begin = begin, .claim = claim, .restore = restore};

}  // namespace msocket::checkpoint
