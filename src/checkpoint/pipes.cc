// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "src/checkpoint/resources.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"

namespace msocket::checkpoint {

namespace {

constexpr int kMaxPipes = 64, kMaxEnds = 256;

struct Pipe {
  uint64_t inode;
  int reader, writer;  ///< the first number of each end, -1: none
  long capacity, size;
  char* content;
};
struct End {
  int fd, pipe;
  int flags;  ///< F_GETFL
  bool close_on_exec;
};
Pipe pipes[kMaxPipes];
End ends[kMaxEnds];
int pipe_count, end_count;

bool writes(const End& end) { return (end.flags & O_ACCMODE) != O_RDONLY; }

void refuse(Refusal* why, int fd, const char* reason) {
  why->add("descriptor ");
  why->add(static_cast<long>(fd));
  why->add(" is a pipe ");
  why->add(reason);
}

// A look at what is in the pipe that takes nothing out: tee into another one.
bool take_content(Pipe* pipe) {
  int size = 0, scratch[2];
  if (raw::sys(SYS_ioctl, pipe->reader, FIONREAD, &size) != 0) return false;
  pipe->size = size;
  if (size == 0) return true;
  void* at = raw::mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (raw::failed(at)) return false;
  pipe->content = static_cast<char*>(at);
  if (raw::sys(SYS_pipe2, scratch, O_CLOEXEC) != 0) return false;
  raw::fcntl(scratch[1], F_SETPIPE_SZ, pipe->capacity);
  bool good = raw::sys(SYS_tee, pipe->reader, scratch[1], size, SPLICE_F_NONBLOCK) == size &&
              raw::read_all(scratch[0], pipe->content, static_cast<size_t>(size)) == 0;
  raw::close(scratch[0]);
  raw::close(scratch[1]);
  return good;
}

}  // namespace

void begin_pipes() {
  forget_pipes();
  pipe_count = end_count = 0;
}

void note_pipe(int fd, uint64_t inode, Refusal* why) {
  int which = 0;
  while (which < pipe_count && pipes[which].inode != inode) ++which;
  if (which == kMaxPipes || end_count == kMaxEnds) return refuse(why, fd, "too many");
  if (which == pipe_count) pipes[pipe_count++] = {inode, -1, -1, 0, 0, nullptr};
  End& end = ends[end_count++];
  end = {fd, which, static_cast<int>(raw::fcntl(fd, F_GETFL)), (raw::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0};
  int& first = writes(end) ? pipes[which].writer : pipes[which].reader;
  if (first < 0) first = fd;
}

bool save_pipes(Refusal* why) {
  for (int i = 0; i < pipe_count; ++i) {
    Pipe& pipe = pipes[i];
    int one = pipe.reader < 0 ? pipe.writer : pipe.reader;
    if (pipe.reader < 0 || pipe.writer < 0) {
      refuse(why, one, "to another process");
      return false;
    }
    pipe.capacity = raw::fcntl(one, F_GETPIPE_SZ);
    if (!take_content(&pipe)) {
      refuse(why, one, "whose content cannot be read");
      return false;
    }
  }
  return true;
}

void forget_pipes() {
  for (int i = 0; i < pipe_count; ++i) {
    if (pipes[i].content) raw::munmap(pipes[i].content, static_cast<size_t>(pipes[i].size));
    pipes[i].content = nullptr;
  }
}

bool restore_pipes(Refusal* why) {
  for (int i = 0; i < pipe_count; ++i) {
    const Pipe& pipe = pipes[i];
    int made[2];
    bool good = raw::sys(SYS_pipe2, made, O_CLOEXEC) == 0;
    if (good) {
      // Out of the way of the numbers that are still to be given back.
      for (int& end : made) end = transport::move_high(end);
      raw::fcntl(made[1], F_SETPIPE_SZ, pipe.capacity);
      good = pipe.size == 0 || raw::write_all(made[1], pipe.content, static_cast<size_t>(pipe.size)) == 0;
      for (int k = 0; k < end_count; ++k) {
        const End& end = ends[k];
        if (end.pipe != i) continue;
        good &= raw::dup3(made[writes(end)], end.fd, end.close_on_exec ? O_CLOEXEC : 0) >= 0;
        raw::fcntl(end.fd, F_SETFL, end.flags & (O_NONBLOCK | O_DIRECT));
      }
      transport::close_own(made[0]);
      transport::close_own(made[1]);
    }
    if (!good) {
      refuse(why, pipe.reader, "that cannot be made again");
      return false;
    }
  }
  forget_pipes();
  pipe_count = end_count = 0;
  return true;
}

}  // namespace msocket::checkpoint
