// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/family.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "src/transport/channel.h"
#include "src/transport/drain.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/transport/vsocket.h"

namespace msocket::transport {

namespace {

int child_fd = -1;

// From here on the old connection's bytes, if there ever is one, are for whoever asks first.
void share_all() {
  for_each_vsocket([](VSocket* vs) { vs->shared = true; });
}

}  // namespace

void before_fork() {
  if (!rt.active) return;
  for (;;) {
    lock();
    uint32_t epoch = rt.epoch;
    drain_all();
    // What a mirror sends comes to one process; a child that had half of such a connection could not go on with it.
    // A connection that is shared already is another matter: its bytes are in the kernel for all.
    if (stands_still()) break;
    unlock();
    wait_for_change(epoch, -1);
  }
  int pair[2];
  if (raw::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, pair) != 0) return;
  wire::ControlRecord record;
  record.type = wire::Control::kFork;
  long sent = send_control(rt.control_fd, record, &pair[1], 1);
  raw::close(pair[1]);
  if (sent == 0) {
    child_fd = move_high(pair[0]);
    ++rt.forks;
  } else {
    raw::close(pair[0]);
  }
}

void after_fork_in_parent() {
  if (!rt.active) return;
  if (child_fd >= 0) {
    share_all();
    close_own(child_fd);
  }
  child_fd = -1;
  unlock();
}

void after_fork_in_child() {
  if (!rt.active) return;
  if (child_fd < 0) {  // no channel: its sockets are plain ones from here on
    rt.active = false;
    close_own(rt.control_fd);
    for (int fd = 0; fd < used_fds; ++fd) ms_kind[fd] = 0;
    any_slow = 0;
    unlock();
    return;
  }
  raw::dup3(child_fd, rt.control_fd, O_CLOEXEC);
  close_own(child_fd);
  child_fd = -1;
  rt.child = true;
  rt.pending = 0;
  share_all();
  // Its own connections are told from its parent's by the port, too.
  rt.next_port = static_cast<uint16_t>(32768 + static_cast<unsigned>(raw::getpid()) * 7919u % 28000u);
  wire::ControlRecord hello;
  hello.type = wire::Control::kHello;
  hello.arg0 = static_cast<uint64_t>(raw::getpid());
  send_control(rt.control_fd, hello);
  arm(rt.control_fd);
  unlock();
}

}  // namespace msocket::transport
