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
#include "src/transport/drain.h"
#include "src/transport/raw.h"
#include "src/transport/redirect.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"
#include "src/transport/udp.h"
#include "src/transport/vsocket.h"
#include "src/transport/watches.h"

namespace msocket::raw {
long (*simulated_kernel)(long nr, const long* arguments, bool guarded);
}

namespace {
long look_again;
}

// src/transport/stub.S in C++. Here the kernel says when it would have sent the program counter back to the look.
extern "C" {
char ms_stub_base[1];
extern const MsStubRange ms_stub_table[1];
const MsStubRange ms_stub_table[1] = {};
extern const MsStubRange ms_stub_table_end[1] __attribute__((alias("ms_stub_table")));  // nothing is to be set back

long ms_stub(long a1, long a2, long a3, long a4, long a5, long a6, long nr, const uint8_t* word, long mask) {
  const long arguments[] = {a1, a2, a3, a4, a5, a6};
  for (;;) {
    if (__atomic_load_n(word, __ATOMIC_RELAXED) & mask) return msocket::transport::kRedo;
    long r = msocket::raw::simulated_kernel(nr, arguments, true);
    if (r != look_again) return r;
  }
}

long ms_stub_equal(long a1, long a2, long a3, long a4, long a5, long a6, long nr, const uint32_t* word, uint32_t value) {
  const long arguments[] = {a1, a2, a3, a4, a5, a6};
  for (;;) {
    if (__atomic_load_n(word, __ATOMIC_RELAXED) != value) return msocket::transport::kRedo;
    long r = msocket::raw::simulated_kernel(nr, arguments, true);
    if (r != look_again) return r;
  }
}
}

namespace msocket::sim {
namespace {

using namespace transport;

// The fast paths of stub.S.
long fast_read(int fd, long nr, void* buffer, size_t length, int flags) {
  long r = ms_stub(fd, reinterpret_cast<long>(buffer), static_cast<long>(length), flags, 0, 0, nr, &ms_kind[fd], kReadSlow);
  if (r == static_cast<long>(length) || (r > 0 && !(flags & MSG_WAITALL))) return r;
  return finish_recv(fd, buffer, length, flags, r);
}

long fast_write(int fd, long nr, const void* buffer, size_t length, int flags) {
  long r = ms_stub(fd, reinterpret_cast<long>(buffer), static_cast<long>(length), flags, 0, 0, nr, &ms_kind[fd], kWriteSlow);
  return r == static_cast<long>(length) ? r : finish_send(fd, buffer, length, flags, r);
}

long read(int fd, void* buffer, size_t length) { return fast_read(fd, SYS_read, buffer, length, 0); }
long recv(int fd, void* buffer, size_t length, int flags) { return fast_read(fd, SYS_recvfrom, buffer, length, flags); }
long write(int fd, const void* buffer, size_t length) { return fast_write(fd, SYS_write, buffer, length, 0); }
long send(int fd, const void* buffer, size_t length, int flags) { return fast_write(fd, SYS_sendto, buffer, length, flags); }

void begin(const wire::ControlRecord& start, int control_fd) {
  rt.control_fd = control_fd;
  rt.vip = start.local.ip;
  rt.generation = start.local_gen;
  memcpy(rt.node, start.text, sizeof rt.node - 1);
  begin_datagrams(start);
  rt.active = true;
  mark_own(control_fd);
  install_handler();
  arm(control_fd);
}

bool linger(int timeout_ms) {
  uint32_t epoch;
  {
    Section section;
    epoch = section.epoch();
    bool busy = false;
    for_each_vsocket([&](VSocket* vs) { busy |= vs->state == ConnState::kAwaiting; });
    if (!busy) return true;
  }
  wait_for_change(epoch, timeout_ms);
  return false;
}

int hand_over(int mailbox_fd, bool good) {
  prepare_freeze();
  good &= save_epolls();
  int count = 0;
  if (good && rt.mirror_fd >= 0) {
    wire::MailboxRecord record{.type = wire::Mailbox::kUpstream, .frame_have = rt.frame_have, .frame_left = rt.frame_left,
                               .frame = rt.frame};
    send_record(mailbox_fd, &record, sizeof record, &rt.mirror_fd, 1);
  }
  for_each_vsocket([&](VSocket* vs) {
    if (!good || !lives(vs)) return;
    wire::MailboxRecord record{.type = wire::Mailbox::kConn, .conn = mirror_name(vs)};
    if (vs->from_mirror) record.flags = wire::kAfterUpstream;
    bool has_new = vs->state != ConnState::kAwaiting;
    if (vs->old_fd >= 0) {
      wire::MailboxRecord old = record;
      old.flags |= wire::kShut;
      send_record(mailbox_fd, &old, sizeof old, &vs->old_fd, 1);
    }
    send_record(mailbox_fd, &record, sizeof record, &vs->fd, has_new ? 1 : 0);
    ++count;
  });
  close_own(mailbox_fd);
  if (!good) undo_freeze();
  return count;
}

int restore(const wire::ControlRecord& start, int control_fd, int mirror_fd) {
  rt.control_fd = control_fd;
  mirror_fd = move_high(mirror_fd);
  install_handler();
  int connections = restore_sockets(start, mirror_fd);
  arm(control_fd);
  if (!restore_epolls()) raw::exit_group(1);
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
    do_socket, do_bind, do_listen, do_accept, do_connect, do_shutdown, do_close, do_dup, do_dup3, read, do_readv, recv,
    write, do_writev, send, do_fcntl, do_setsockopt, do_getsockopt, do_getsockname, do_getpeername, do_poll,
    do_select, do_recvmsg, do_sendmsg, do_epoll_create, do_epoll_ctl, do_epoll_wait,
    begin, linger, hand_over, close_own, undo_freeze, restore, say, hear, sockets, knows, serial, print_transitions};

}  // namespace
}  // namespace msocket::sim

extern "C" __attribute__((visibility("default"))) const msocket::sim::Library* msocket_sim_open(
    msocket::sim::Kernel kernel, long again, msocket::sim::Freeze freeze) {
  msocket::raw::simulated_kernel = kernel;
  look_again = again;
  msocket::transport::freeze_hook = freeze;
  return &msocket::sim::kLibrary;
}
