// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The library's constructor and destructor: where a process comes under msocket, and where a new one is refilled. Runs
// before the program's main and before libmpi.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "src/checkpoint/boot.h"
#include "src/checkpoint/resources.h"
#include "src/checkpoint/restore.h"
#include "src/checkpoint/save.h"
#include "src/transport/channel.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/transport/udp.h"
#include "src/transport/vsocket.h"

namespace msocket::checkpoint {

namespace {

using transport::rt;

constexpr int kExitLingerMs = 10000;

void say_hello() {
  wire::ControlRecord hello;
  hello.type = wire::Control::kHello;
  hello.arg0 = raw::getpid();
  auto* path = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  if (path) strncpy(hello.text, path, sizeof hello.text - 1);
  transport::send_control(wire::kControlFd, hello);
}

// A child has the descriptors, not the place in the world: its sockets are plain ones that it shares (a later version
// moves them too).
void in_child() {
  if (!rt.active) return;
  rt.active = false;
  raw::close(rt.control_fd);
  for (int fd = 0; fd < transport::used_fds; ++fd) transport::kind[fd] = 0;
}

__attribute__((constructor)) void start() {
  const char* control = getenv("MSOCKET_CONTROL");
  if (!control || atoi(control) != wire::kControlFd || raw::fcntl(wire::kControlFd, F_GETFD) < 0) return;
  raw::fcntl(wire::kControlFd, F_SETFD, FD_CLOEXEC);
  void* at = raw::mmap(reinterpret_cast<void*>(kBootAddress), kBootSize, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE);
  if (at != reinterpret_cast<void*>(kBootAddress)) {
    raw::complain("the address range that the library needs for moving is taken; this process stays where it is");
    return;
  }
  say_hello();
  Boot* b = boot();
  int fds[wire::kMaxControlFds], count = 0;
  long r = transport::receive_record(wire::kControlFd, &b->start, sizeof b->start, fds, &count, false);
  if (r != 0 || b->start.magic != wire::kControlMagic || b->start.version != wire::kControlVersion ||
      b->start.type != wire::Control::kStart) {
    raw::complain("the node's daemon does not speak this version of msocket");
    raw::exit_group(1);
  }
  b->control_fd = wire::kControlFd;
  b->image_fd = count > 0 ? transport::move_high(fds[0]) : -1;
  b->mirror_fd = count > 1 ? transport::move_high(fds[1]) : -1;
  if (b->start.flags & wire::kFlagRestore) become_image();

  find_thread_fields();
  note_provided();
  transport::freeze_hook = freeze;
  rt.control_fd = wire::kControlFd;
  rt.vip = b->start.local.ip;
  rt.generation = b->start.local_gen;
  memcpy(rt.node, b->start.text, sizeof rt.node - 1);
  transport::begin_datagrams(b->start);
  rt.active = true;
  pthread_atfork(nullptr, nullptr, in_child);
  transport::install_handler();
  transport::arm(rt.control_fd);
}

// A program that ends in the middle of a move has still bytes on their way: wait for them like SO_LINGER does.
__attribute__((destructor)) void finish() {
  if (!rt.active) return;
  for (int waited = 0; waited < kExitLingerMs; waited += 100) {
    {
      transport::Section section;
      rt.events = 0;
      bool busy = false;
      transport::for_each_vsocket([&](transport::VSocket* vs) { busy |= vs->state == transport::ConnState::kAwaiting; });
      if (!busy) return;
    }
    transport::wait_for_event(100);
  }
}

}  // namespace

}  // namespace msocket::checkpoint
