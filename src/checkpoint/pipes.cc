// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Pipes whose both ends are in the process itself (the self-pipe of an event loop), with what is in them, and those whose other end
// nobody has any more. A pipe that leads to another process keeps its process where it is.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"
#include "src/transport/runtime.h"

namespace msocket::checkpoint {

namespace {

constexpr int kMaxPipes = 64, kMaxEnds = 256;

struct Pipe {
  uint64_t inode;
  int reader, writer;  ///< the first number of each end, -1: none
  long capacity, size;
  char* content;
  int either() const { return reader < 0 ? writer : reader; }
};
struct End {
  int fd, pipe;
  int flags;  ///< F_GETFL
  bool close_on_exec;
};
Pipe all[kMaxPipes];
End ends[kMaxEnds];
int pipe_count, end_count;

bool writes(const End& end) { return (end.flags & O_ACCMODE) != O_RDONLY; }

void refuse(Refusal* why, int fd, const char* reason) {
  why->add("descriptor ");
  why->add(static_cast<long>(fd));
  why->add(" is a pipe ");
  why->add(reason);
  why->end();
}

// The kernel tells by an event that needs no asking for: a reader that no writer is left, a writer that no reader is.
bool other_end_is_gone(const Pipe& pipe) {
  pollfd p{pipe.either(), 0, 0};
  return raw::poll(&p, 1, 0) == 1 && (p.revents & (pipe.reader < 0 ? POLLERR : POLLHUP));
}

// A look at what is in the pipe that takes nothing out: tee into another one.
bool take_content(Pipe* pipe) {
  int size = 0, scratch[2];
  if (pipe->reader < 0) return true;  // nobody can read it
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

void give_back() {
  for (int i = 0; i < pipe_count; ++i) {
    if (all[i].content) raw::munmap(all[i].content, static_cast<size_t>(all[i].size));
    all[i].content = nullptr;
  }
}

void begin() { pipe_count = end_count = 0; }

bool claim(const Descriptor& d, Refusal* why) {
  if (!S_ISFIFO(d.st.st_mode) || !begins_with(d.path, "pipe:[")) return false;
  int which = 0;
  while (which < pipe_count && all[which].inode != d.st.st_ino) ++which;
  if (which == kMaxPipes || end_count == kMaxEnds) {
    refuse(why, d.fd, "too many");
    return true;
  }
  if (which == pipe_count) all[pipe_count++] = {d.st.st_ino, -1, -1, 0, 0, nullptr};
  End& end = ends[end_count++];
  end = {d.fd, which, d.flags, d.close_on_exec};
  int& first = writes(end) ? all[which].writer : all[which].reader;
  if (first < 0) first = d.fd;
  return true;
}

void look(Refusal* why) {
  for (int i = 0; i < pipe_count; ++i)
    if ((all[i].reader < 0 || all[i].writer < 0) && !other_end_is_gone(all[i])) refuse(why, all[i].either(), "to another process");
}

void take(Refusal* why) {
  for (int i = 0; i < pipe_count; ++i) {
    all[i].capacity = raw::fcntl(all[i].either(), F_GETPIPE_SZ);
    if (!take_content(&all[i])) refuse(why, all[i].either(), "whose content cannot be read");
  }
}

bool restore(Refusal* why) {
  for (int i = 0; i < pipe_count; ++i) {
    const Pipe& pipe = all[i];
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
      refuse(why, pipe.either(), "that cannot be made again");
      return false;
    }
  }
  give_back();
  begin();
  return true;
}

}  // namespace

extern const Resource pipes;
const Resource pipes{.begin = begin, .claim = claim, .look = look, .take = take, .give_back = give_back, .restore = restore};

}  // namespace msocket::checkpoint
