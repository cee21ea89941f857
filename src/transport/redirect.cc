// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/redirect.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "src/transport/channel.h"
#include "src/transport/drain.h"
#include "src/transport/options.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/transport/udp.h"
#include "src/transport/watches.h"

namespace msocket::transport {

uint32_t unaccepted_arrivals;

namespace {

wire::ControlRecord about(const VSocket* vs, wire::Control type) {
  wire::ControlRecord record;
  record.type = type;
  record.conn = vs->conn;
  record.local = vs->local;
  record.peer = vs->peer;
  record.local_gen = rt.generation;
  record.peer_gen = vs->peer_gen;
  record.flags = vs->connector ? wire::kFlagConnector : 0;
  return record;
}

// The program has closed it while the move was under way; now it can go.
void release_orphan(VSocket* vs) {
  int fd = vs->fd;
  close_own(vs->old_fd);
  vs->old_fd = -1;
  free_vsocket(vs);
  if (fd >= 0) raw::close(fd);
}

// The connections that wait in the listener channels come into the tables, to be accepted from there: only what is in the
// tables can move, and follow a peer.
void take_waiting() {
  for (int i = 0; i < used_vsockets; ++i) {
    VSocket* listener = &vsockets[i];
    if (listener->state != ConnState::kListening) continue;
    for (;;) {
      wire::AcceptRecord record;
      int fds[wire::kMaxControlFds], count;
      if (receive_record(listener->fd, &record, sizeof record, fds, &count, true) != 0) break;
      if (count != 1) continue;
      int fd = move_high(fds[0]);
      VSocket* vs = fd >= 0 ? adopt(listener, record, fd) : nullptr;
      if (vs) vs->unaccepted = ++unaccepted_arrivals;
      else if (fd >= 0) raw::close(fd);
    }
    refresh(listener);
  }
}

}  // namespace

void put_under_numbers(VSocket* vs, int fd) {
  take_out_watches(vs);
  copy_options(vs->fd, fd);
  for_each_number(vs, [&](int number) {
    long flags = raw::fcntl(number, F_GETFD);
    raw::dup3(fd, number, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
  });
  raw::close(fd);
}

void on_connected(const wire::ControlRecord& record, int fd) {
  VSocket* vs = find_conn(record.conn, record.local);
  if (!vs || vs->state != ConnState::kConnecting) {
    if (fd >= 0) raw::close(fd);
    return;
  }
  if (record.error || fd < 0) {
    vs->error = record.error ? record.error : ECONNABORTED;
    set_state(vs, ConnState::kFailed);
  } else {
    put_under_numbers(vs, fd);
    vs->peer_gen = record.peer_gen;
    set_state(vs, ConnState::kEstablished);
  }
  refresh(vs);
  if (vs->orphan) release_orphan(vs);
}

void on_hold(const wire::ControlRecord& record) {
  VSocket* vs = find_conn(record.conn, record.local);
  wire::ControlRecord reply = record;
  reply.type = wire::Control::kInstalled;
  reply.error = record.arg1 != rt.forks ? EBUSY : vs ? 0 : ENOTCONN;
  if (reply.error == 0) {
    vs->held = record.flags & wire::kFlagHold;
    refresh(vs);
  }
  send_control(rt.control_fd, reply);
}

void on_install(const wire::ControlRecord& record, int fd) {
  VSocket* vs = find_conn(record.conn, record.local);
  if (!vs) {
    take_waiting();  // the program may not have accepted it yet
    vs = find_conn(record.conn, record.local);
  }
  if (vs && record.arg1 == rt.forks) {
    vs->held = false;
    vs->shared = record.flags & wire::kFlagShared;
  }
  wire::ControlRecord reply = record;
  reply.type = wire::Control::kInstalled;
  reply.error = 0;
  bool gone = fd < 0;
  if (record.arg1 != rt.forks) {
    reply.error = EBUSY;  // the daemon does not know yet who else has it
  } else if (!vs) {
    reply.error = ENOTCONN;
  } else if (record.peer_gen < vs->peer_gen || record.local_gen != rt.generation) {
    reply.error = ESTALE;
  } else {
    if (vs->state == ConnState::kDraining && vs->old_fd >= 0) {
      // The peer has moved again. Its first mirror has ended before it could, so all of that stream is here. What others
      // share stays for them: until they have read it the daemon is told to ask again.
      drain_old(vs, vs->shared ? 0 : kAll);
    }
    bool mover = vs->state == ConnState::kAwaiting;
    bool peer_moved = vs->state == ConnState::kEstablished || vs->state == ConnState::kBuffered;
    if (!mover && !peer_moved) {
      reply.error = EBUSY;  // the daemon asks again
    } else if (peer_moved && record.peer_gen == vs->peer_gen) {
      reply.error = ESTALE;  // this move of the peer is through: a second socket for it leads nowhere
    } else if (gone && peer_moved) {
      reply.error = EINVAL;
    } else {
      // The peer had taken a socket that did not come through to here, or the kernel has told the program of a reset: what comes
      // now lies behind a gap.
      if (gone && record.error == ECONNRESET && !vs->broken) vs->reset = vs->broken = true;
      bool was_broken = peer_moved && was_reset(vs);
      if (gone) fd = dead_socket();
      if (record.flags & wire::kFlagAnswer) raw::send_all(fd, record.text, wire::kAnswerLength);
      if (peer_moved) {
        vs->old_fd = copy_high(vs->fd);
        vs->old_ended = false;
      }
      put_under_numbers(vs, fd);
      fd = -1;
      if (vs->broken) vs->out.clear();
      if (vs->out.size()) {
        long r = raw::send_all(vs->fd, vs->out.data(), vs->out.size());
        if (r < 0 && r != -EPIPE) vs->error = static_cast<int>(-r);  // the program has not heard of it
        vs->out.clear();
      }
      if (vs->write_shut && !vs->broken) raw::shutdown(vs->fd, SHUT_WR);  // bytes are missing: break_off() says so
      if (vs->read_shut) raw::shutdown(vs->fd, SHUT_RD);
      vs->peer_gen = record.peer_gen;
      set_state(vs, ConnState::kDraining);
      if (mover) {
        tell_mirror_half_close(mirror_name(vs));
      } else {
        raw::shutdown(vs->old_fd, SHUT_WR);
        // Not a shared one: O_NONBLOCK would be there for the others, too, who have yet to copy the program's own from it.
        // Who asks for its bytes waits at the descriptor itself.
        if (!vs->shared) arm(vs->old_fd);
        drain_old(vs, vs->shared ? 0 : kAll);
      }
      vs->broken |= was_broken;  // behind what it has left
      if (vs->broken) break_off(vs);
      refresh(vs);
      if (vs->orphan) release_orphan(vs);
    }
  }
  if (fd >= 0) raw::close(fd);
  send_control(rt.control_fd, reply);
}

VSocket* adopt(const VSocket* listener, const wire::AcceptRecord& record, int fd) {
  VSocket* vs = allocate_vsocket();
  if (!vs) return nullptr;
  vs->conn = record.conn;
  vs->peer = record.peer;
  vs->peer_gen = record.peer_gen;
  vs->local = listener->local;
  vs->family6 = listener->family6;
  vs->local.ip = rt.vip;
  set_state(vs, ConnState::kEstablished);
  attach(fd, vs);
  if (listener->option_fd >= 0) {
    copy_options(listener->option_fd, fd);
    long flags = raw::fcntl(fd, F_GETFL);  // O_NONBLOCK is not inherited by accepted sockets on Linux
    raw::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  }
  return vs;
}

bool lives(const VSocket* vs) {
  if (vs->broken && vs->state != ConnState::kDraining) return vs->state == ConnState::kAwaiting;
  return vs->state == ConnState::kEstablished || vs->state == ConnState::kBuffered || vs->state == ConnState::kDraining ||
         vs->state == ConnState::kAwaiting;
}

long announce_listener(VSocket* vs, int fd) {
  if (vs->quiet) {
    vs->quiet_fd = move_high(fd);
    return vs->quiet_fd < 0 ? vs->quiet_fd : 0;
  }
  wire::ControlRecord record = about(vs, wire::Control::kListen);
  record.local.ip = rt.vip;
  record.arg0 = static_cast<uint64_t>(vs->backlog);
  long r = send_control(rt.control_fd, record, &fd, 1);
  raw::close(fd);
  return r;
}

namespace {
SavedOptions* all_saved;  // of all sockets, while this process stands still
size_t saved_size;
}  // namespace

void prepare_freeze() {
  take_waiting();
  size_t count = 0;
  for_each_vsocket([&](VSocket*) { ++count; });
  saved_size = count * sizeof(SavedOptions);
  void* at = count ? raw::mmap(nullptr, saved_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS) : nullptr;
  all_saved = raw::failed(at) ? nullptr : static_cast<SavedOptions*>(at);
  for_each_vsocket([next = all_saved](VSocket* vs) mutable {
    vs->saved = next ? next++ : nullptr;
    if (vs->saved) save_options(vs->option_fd >= 0 ? vs->option_fd : vs->fd, vs->saved);
    for_each_number(vs, [](int number) {
      bool set = raw::fcntl(number, F_GETFD) & FD_CLOEXEC;
      ms_kind[number] = static_cast<uint8_t>((ms_kind[number] & ~kCloseOnExec) | (set ? kCloseOnExec : 0));
    });
    if (vs->saved && vs->option_fd >= 0) vs->saved->file_flags = raw::fcntl(vs->fd, F_GETFL) & O_NONBLOCK;
  });
}

void undo_freeze() {
  forget_places();  // corrections that came meanwhile have been missed
  for_each_vsocket([](VSocket* vs) { vs->saved = nullptr; });
  if (all_saved) raw::munmap(all_saved, saved_size);
  all_saved = nullptr;
}

namespace {

// Without close-on-exec; whether the number had that is seen to afterwards.
void place(int fd, int number) {
  if (fd == number) {
    raw::fcntl(number, F_SETFD, 0);
    return;
  }
  raw::dup3(fd, number, 0);
  raw::close(fd);
}

void restore_listener(VSocket* vs) {
  vs->option_fd = -1;
  long options = raw::socket(vs->family6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (options >= 0) vs->option_fd = move_high(static_cast<int>(options));
  int pair[2];
  if (raw::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, pair) != 0) return;
  announce_listener(vs, pair[1]);
  place(pair[0], vs->fd);
}

}  // namespace

void adopt_held(const wire::ControlRecord& record) {
  VSocket* listener = nullptr;
  for_each_vsocket([&](VSocket* vs) {
    if (vs->state == ConnState::kListening && vs->local.port == record.local.port) listener = vs;
  });
  if (!listener) return;
  long fd = raw::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  wire::AcceptRecord accepted{.peer_gen = record.peer_gen, .conn = record.conn, .peer = record.peer};
  VSocket* vs = adopt(listener, accepted, move_high(static_cast<int>(fd)));
  if (!vs) return;
  set_state(vs, ConnState::kAwaiting);
  vs->unaccepted = ++unaccepted_arrivals;
  vs->from_mirror = true;
  send_control(rt.control_fd, about(vs, wire::Control::kReconnect));
  refresh(vs);
  refresh(listener);
}

int restore_sockets(const wire::ControlRecord& start, int mirror_fd) {
  for (uint8_t& kind : ms_kind)
    if (kind == kOwn) kind = 0;  // those were the old process's
  mark_own(rt.control_fd);
  mark_own(mirror_fd);
  rt.vip = start.local.ip;
  rt.forks = 0;  // the daemon here knows of none, and there are no children
  rt.generation = start.local_gen;
  memcpy(rt.node, start.text, sizeof rt.node - 1);
  begin_datagrams(start);
  rt.mirror_fd = mirror_fd;
  rt.frame_have = rt.frame_left = 0;
  rt.settling = true;
  int announced = 0;
  // A connection that waits for accept() has a number of the library's own choice, which here may be the mirror's stream.
  for_each_vsocket([](VSocket* vs) {
    if (vs->unaccepted) detach(vs->fd);
  });
  for (int i = 0; i < used_vsockets; ++i) {
    VSocket* vs = &vsockets[i];
    if (vs->state == ConnState::kFree) continue;
    int first = vs->fd;
    if (vs->state == ConnState::kListening) {
      restore_listener(vs);
    } else {
      bool unconnected = vs->state < ConnState::kEstablished;
      bool over = !unconnected && !lives(vs);  // broken, and it stays so
      long fd = over ? dead_socket() : raw::socket(vs->family6 && unconnected ? AF_INET6 : AF_INET,
                            vs->datagram == Datagram::kNo ? SOCK_STREAM : SOCK_DGRAM, 0);
      if (fd >= 0 && vs->unaccepted) attach(first = move_high(static_cast<int>(fd)), vs);
      else if (fd >= 0) place(static_cast<int>(fd), first);
    }
    for_each_number(vs, [&](int number) {
      if (number != first) raw::dup3(first, number, 0);
      if (ms_kind[number] & kCloseOnExec) raw::fcntl(number, F_SETFD, FD_CLOEXEC);
    });
    if (vs->saved) {
      apply_options(*vs->saved, vs->option_fd >= 0 ? vs->option_fd : first);
      long flags = raw::fcntl(first, F_GETFL);
      if (vs->option_fd >= 0 && (vs->saved->file_flags & O_NONBLOCK)) raw::fcntl(first, F_SETFL, flags | O_NONBLOCK);
    }
    if (vs->datagram != Datagram::kNo) restore_datagram(vs);
    if (lives(vs)) {
      set_state(vs, ConnState::kAwaiting);
      vs->from_mirror = true;
      vs->old_ended = false;
      vs->old_fd = -1;
      note_arrival(vs);  // there is room to write, which there may not have been
      send_control(rt.control_fd, about(vs, wire::Control::kReconnect));
      ++announced;
    }
    refresh(vs);
  }
  undo_freeze();
  if (rt.mirror_fd >= 0) arm(rt.mirror_fd);
  return announced;
}

}  // namespace msocket::transport
