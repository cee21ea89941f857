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
#include "src/checkpoint/look.h"
#include "src/checkpoint/resources.h"
#include "src/checkpoint/restore.h"
#include "src/checkpoint/save.h"
#include "src/checkpoint/threads.h"
#include "src/checkpoint/tracking.h"
#include "src/transport/channel.h"
#include "src/transport/family.h"
#include "src/transport/exec.h"
#include "src/transport/raw.h"
#include "src/transport/redirect.h"
#include "src/transport/runtime.h"
#include "src/transport/udp.h"
#include "src/transport/vsocket.h"
#include "src/transport/world.h"

namespace msocket::checkpoint {

namespace {

using transport::rt;

constexpr int kExitLingerMs = 10000;

void say_hello(uint32_t flags) {
  if (flags && rt.child) return;  // what a child runs is nobody's business
  wire::ControlRecord hello;
  hello.flags = flags;
  hello.type = wire::Control::kHello;
  hello.arg0 = raw::getpid();
  auto* path = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  if (path) strncpy(hello.text, path, sizeof hello.text - 1);
  transport::send_control(wire::kControlFd, hello);
}

constexpr char kNoRoom[] = "the address range that the library needs for moving is taken";

void refuse_freeze(int image_fd, int mailbox_fd) {
  transport::close_own(image_fd);
  transport::close_own(mailbox_fd);
  transport::close_own(rt.freeze_sent_fd);
  rt.freeze_sent_fd = -1;
  wire::ControlRecord record;
  record.type = wire::Control::kFrozen;
  record.error = ECANCELED;
  memcpy(record.text, kNoRoom, sizeof kNoRoom);
  transport::send_control(rt.control_fd, record);
}

void refuse_look(int report, int, uint32_t) {
  raw::write_all(report, "no ", 3);
  raw::write_all(report, kNoRoom, sizeof kNoRoom - 1);
  raw::write_all(report, "\n", 1);
}

void go_on(bool movable) {
  find_thread_layout();
  transport::find_kernel_code(getauxval(AT_SYSINFO_EHDR));
  transport::freeze_hook = movable ? freeze : refuse_freeze;
  transport::look_hook = movable ? look : refuse_look;
  transport::hold_hook = hold_thread;
  transport::track_hook = offer_tracking;
  pthread_atfork(transport::before_fork, transport::after_fork_in_parent, transport::after_fork_in_child);
  transport::install_handler();
  transport::arm(rt.control_fd);
}

__attribute__((constructor)) void start() {
  const char* control = getenv("MSOCKET_CONTROL");
  if (!control || atoi(control) != wire::kControlFd || raw::fcntl(wire::kControlFd, F_GETFD) < 0) return;
  raw::fcntl(wire::kControlFd, F_SETFD, FD_CLOEXEC);
  void* at = raw::mmap(reinterpret_cast<void*>(kBootAddress), kBootSize, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE);
  transport::datagrams_go_over_exec();
  transport::goes_over_exec(&transport::unaccepted_arrivals, sizeof transport::unaccepted_arrivals);
  resources_go_over_exec();
  // Valgrind, for one, has no such addresses: the process has its virtual sockets all the same, and follows its peers.
  bool movable = at == reinterpret_cast<void*>(kBootAddress);
  if (movable) {
    raw::sys(SYS_sched_getaffinity, 0, sizeof boot()->cpus, boot()->cpus);
    transport::goes_over_exec(boot()->cpus, sizeof boot()->cpus);
    boot()->check_image = getenv("MSOCKET_CHECK_IMAGE") != nullptr;
  }
  if (transport::take_over()) {
    go_on(movable);
    say_hello(wire::kFlagExec);
    transport::end_take_over();
    return;
  }
  say_hello(0);
  wire::ControlRecord start;
  int fds[wire::kMaxControlFds], count = 0;
  long r = transport::receive_record(wire::kControlFd, &start, sizeof start, fds, &count, false);
  if (r != 0 || start.magic != wire::kControlMagic || start.version != wire::kControlVersion ||
      start.type != wire::Control::kStart) {
    raw::complain("the node's daemon does not speak this version of msocket");
    raw::exit_group(1);
  }
  if (start.flags & wire::kFlagRestore) {
    if (!movable) {
      raw::complain(kNoRoom);
      raw::exit_group(1);
    }
    Boot* b = boot();
    b->start = start;
    b->control_fd = wire::kControlFd;
    b->image_fd = count > 0 ? transport::move_high(fds[0]) : -1;
    b->mirror_fd = count > 1 ? transport::move_high(fds[1]) : -1;
    become_image();
  }

  note_start();
  rt.control_fd = wire::kControlFd;
  rt.vip = start.local.ip;
  rt.generation = start.local_gen;
  memcpy(rt.node, start.text, sizeof rt.node - 1);
  transport::begin_datagrams(start);
  rt.active = true;
  transport::mark_own(rt.control_fd);
  go_on(movable);
}

// A program that ends in the middle of a move has still bytes on their way: wait for them like SO_LINGER does.
__attribute__((destructor)) void finish() {
  if (!rt.active) return;
  for (int waited = 0; waited < kExitLingerMs; waited += 100) {
    uint32_t epoch;
    {
      transport::Section section;
      epoch = section.epoch();
      bool busy = false;
      transport::for_each_vsocket([&](transport::VSocket* vs) { busy |= vs->state == transport::ConnState::kAwaiting; });
      if (!busy) return;
    }
    transport::wait_for_change(epoch, 100);
  }
}

}  // namespace

}  // namespace msocket::checkpoint
