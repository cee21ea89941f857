// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// src/transport as a module of its own (-DMSOCKET_SIM): one copy is one process's library. Besides the table of its entries,
// the stub in C++, and what src/checkpoint/save.cc and start.cc do with the sockets.
#include "tests/sim/module.h"

#include <cstdio>
#include <cstring>

#include "src/transport/calls.h"
#include "src/transport/channel.h"
#include "src/transport/raw.h"
#include "src/transport/redirect.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"
#include "src/transport/vsocket.h"

namespace msocket::raw {
long (*simulated_kernel)(long nr, const long* arguments, bool guarded);
}

namespace {
long look_again;
}

// src/transport/stub.S in C++. Here the kernel says when it would have sent the program counter back to the look.
extern "C" {
char ms_stub_check[1], ms_stub_syscall[1];

long ms_stub(long a1, long a2, long a3, long a4, long a5, long a6, long nr, const uint8_t* word, long mask) {
  const long arguments[] = {a1, a2, a3, a4, a5, a6};
  for (;;) {
    if (__atomic_load_n(word, __ATOMIC_RELAXED) & mask) return msocket::transport::kRedo;
    long r = msocket::raw::simulated_kernel(nr, arguments, true);
    if (r != look_again) return r;
  }
}
}

namespace msocket::sim {
namespace {

using namespace transport;

void begin(const wire::ControlRecord& start, int control_fd) {
  rt.control_fd = control_fd;
  rt.vip = start.local.ip;
  rt.generation = start.local_gen;
  memcpy(rt.node, start.text, sizeof rt.node - 1);
  rt.active = true;
  install_handler();
  arm(control_fd);
}

bool linger(int timeout_ms) {
  {
    Section section;
    rt.events = 0;
    bool busy = false;
    for_each_vsocket([&](VSocket* vs) { busy |= vs->state == ConnState::kAwaiting; });
    if (!busy) return true;
  }
  wait_for_event(timeout_ms);
  return false;
}

int hand_over(int mailbox_fd, bool good) {
  prepare_freeze();
  int count = 0;
  for_each_vsocket([&](VSocket* vs) {
    if (!good || (vs->state != ConnState::kEstablished && vs->state != ConnState::kBuffered)) return;
    wire::MailboxRecord record{.type = wire::Mailbox::kConn, .conn = vs->conn};
    send_record(mailbox_fd, &record, sizeof record, &vs->fd, 1);
    ++count;
  });
  raw::close(mailbox_fd);
  if (!good) undo_freeze();
  return count;
}

int restore(const wire::ControlRecord& start, int control_fd, int mirror_fd) {
  rt.control_fd = control_fd;
  install_handler();
  int connections = restore_sockets(start, mirror_fd);
  arm(control_fd);
  return connections;
}

long say(const wire::ControlRecord& record) { return send_control(rt.control_fd, record); }

long hear(wire::ControlRecord* record, bool dont_wait) {
  int fds[wire::kMaxControlFds], count = 0;
  long r = receive_record(rt.control_fd, record, sizeof *record, fds, &count, dont_wait);
  for (int i = 0; i < count; ++i) raw::close(fds[i]);
  return r;
}

int sockets() {
  int n = 0;
  for_each_vsocket([&](VSocket*) { ++n; });
  return n;
}

bool knows(int fd) { return kind_of(fd) != 0; }

const Transition* last_transition() {
  const Transition* last = nullptr;
  for (const Transition& line : transition_log)
    if ((line.from != ConnState::kFree || line.to != ConnState::kFree) && (!last || line.serial > last->serial)) last = &line;
  return last;
}

uint32_t serial() {
  const Transition* last = last_transition();
  return last ? last->serial + 1 : 0;
}

void print_transitions() {
  uint32_t end = serial();
  for (uint32_t i = end > 16 ? end - 16 : 0; i < end; ++i) {
    const Transition& line = transition_log[i % kTransitionLog];
    fprintf(stderr, "    #%u  number %d  connection %08llx  %s -> %s\n", line.serial, line.fd,
            static_cast<unsigned long long>(line.conn.lo & 0xffffffff), name(line.from), name(line.to));
  }
  for_each_vsocket([](VSocket* vs) {
    fprintf(stderr, "    now: number %d  connection %08llx  %s%s%s  in %zu out %zu%s%s\n", vs->fd,
            static_cast<unsigned long long>(vs->conn.lo & 0xffffffff), name(vs->state), vs->orphan ? ", orphan" : "",
            vs->from_mirror ? ", from the mirror" : "", vs->in.size(), vs->out.size(), vs->old_fd >= 0 ? ", old open" : "",
            vs->reset ? ", reset" : "");
  });
}

const Library kLibrary = {
    do_socket, do_bind, do_listen, do_accept, do_connect, do_shutdown, do_close, do_dup, do_dup3, do_read, do_readv, do_recv,
    do_write, do_writev, do_send, do_fcntl, do_setsockopt, do_getsockopt, do_getsockname, do_getpeername, do_poll,
    begin, linger, hand_over, undo_freeze, restore, say, hear, sockets, knows, serial, print_transitions};

}  // namespace
}  // namespace msocket::sim

extern "C" __attribute__((visibility("default"))) const msocket::sim::Library* msocket_sim_open(
    msocket::sim::Kernel kernel, long again, msocket::sim::Freeze freeze) {
  msocket::raw::simulated_kernel = kernel;
  look_again = again;
  msocket::transport::freeze_hook = freeze;
  return &msocket::sim::kLibrary;
}
