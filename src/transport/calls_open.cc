// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>

#include "src/transport/calls.h"
#include "src/transport/channel.h"
#include "src/transport/drain.h"
#include "src/transport/options.h"
#include "src/transport/raw.h"
#include "src/transport/redirect.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"

namespace msocket::transport {

namespace {

bool is_virtual(uint32_t ip) { return (ip & rt.netmask) == rt.network; }

// Ports belong to the process's own virtual address, so nobody else can have taken one.
uint16_t ephemeral_port() {
  for (;;) {
    if (rt.next_port < 32768) rt.next_port = 32768;
    uint16_t port = rt.next_port++;
    bool taken = false;
    for_each_vsocket([&](VSocket* vs) { taken |= vs->local.port == port; });
    if (!taken) return port;
  }
}

bool port_taken(uint16_t port) {
  bool taken = false;
  for_each_vsocket([&](VSocket* vs) { taken |= vs->state <= ConnState::kListening && vs->local.port == port; });
  return taken;
}

void report(const Endpoint& endpoint, sockaddr* address, socklen_t* length) {
  if (!address || !length) return;
  sockaddr_in in;
  memset(&in, 0, sizeof in);
  in.sin_family = AF_INET;
  in.sin_port = htons(endpoint.port);
  in.sin_addr.s_addr = htonl(endpoint.ip);
  memcpy(address, &in, *length < sizeof in ? *length : sizeof in);
  *length = sizeof in;
}

VSocket* virtual_at(int fd) { return kind_of(fd) ? vsocket_of[fd] : nullptr; }

}  // namespace

bool nonblocking(int fd) { return raw::fcntl(fd, F_GETFL) & O_NONBLOCK; }

long wait_or_again(int fd, int flags) {
  if ((flags & MSG_DONTWAIT) || nonblocking(fd)) return -EAGAIN;
  return wait_for_event(-1);
}

long do_socket(int domain, int type, int protocol) {
  if (!rt.active || domain != AF_INET || (type & 0xf) != SOCK_STREAM) return raw::socket(domain, type, protocol);
  Section section;  // a freeze in between would find a socket that is in no table
  long fd = raw::socket(domain, type, protocol);
  if (fd < 0 || fd >= kMaxFd) return fd;
  VSocket* vs = allocate_vsocket();
  if (!vs) {
    raw::close(static_cast<int>(fd));
    return -ENFILE;
  }
  set_state(vs, ConnState::kFresh);
  attach(static_cast<int>(fd), vs);
  return fd;
}

long do_bind(int fd, const sockaddr* address, socklen_t length) {
  if (kind_of(fd)) {
    Section section;
    VSocket* vs = virtual_at(fd);
    auto* in = reinterpret_cast<const sockaddr_in*>(address);
    if (vs && vs->state == ConnState::kFresh && address && length >= sizeof *in && in->sin_family == AF_INET) {
      uint32_t ip = ntohl(in->sin_addr.s_addr);
      uint16_t port = ntohs(in->sin_port);
      if (ip == INADDR_ANY || ip == rt.vip) {
        if (vs->local.port) return -EINVAL;
        if (port && port_taken(port)) return -EADDRINUSE;
        vs->local = {ip, port ? port : ephemeral_port()};
        return 0;
      }
      if (is_virtual(ip)) return -EADDRNOTAVAIL;
      free_vsocket(vs);  // a real address of this host: a plain socket from here on
    } else if (vs) {
      return -EINVAL;
    }
  }
  return raw::sys(SYS_bind, fd, address, length);
}

long do_listen(int fd, int backlog) {
  if (!kind_of(fd)) return raw::sys(SYS_listen, fd, backlog);
  Section section;
  VSocket* vs = virtual_at(fd);
  if (vs && vs->state == ConnState::kListening) return 0;
  if (!vs || vs->state != ConnState::kFresh) return -EINVAL;
  if (!vs->local.port) vs->local.port = ephemeral_port();
  int pair[2];
  long r = raw::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, pair);
  if (r < 0) return r;
  vs->option_fd = static_cast<int>(raw::fcntl(vs->fd, F_DUPFD_CLOEXEC, kHighFd));
  vs->backlog = backlog;
  wire::ControlRecord record;
  record.type = wire::Control::kListen;
  record.local = {rt.vip, vs->local.port};
  record.arg0 = static_cast<uint64_t>(backlog);
  r = send_control(rt.control_fd, record, &pair[1], 1);
  raw::close(pair[1]);
  if (nonblocking(vs->fd)) raw::fcntl(pair[0], F_SETFL, O_NONBLOCK);
  for_each_number(vs, [&](int number) {
    raw::dup3(pair[0], number, raw::fcntl(number, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0);
  });
  raw::close(pair[0]);
  set_state(vs, ConnState::kListening);
  refresh(vs);
  return r;
}

namespace {

// A connection that was accepted for the program on the old node, before it moved.
long accept_moved(VSocket* listener, sockaddr* address, socklen_t* length, int flags) {
  VSocket* first = nullptr;
  for_each_vsocket([&](VSocket* vs) {
    if (!first && vs->unaccepted && vs->local.port == listener->local.port) first = vs;
  });
  if (!first) return -EAGAIN;
  int carrier = first->fd;
  long fd = raw::fcntl(carrier, flags & SOCK_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
  if (fd < 0) return fd;
  long mode = raw::fcntl(carrier, F_GETFL);
  raw::fcntl(carrier, F_SETFL, flags & SOCK_NONBLOCK ? mode | O_NONBLOCK : mode & ~O_NONBLOCK);
  first->unaccepted = false;
  attach(static_cast<int>(fd), first);
  detach(carrier);
  raw::close(carrier);
  refresh(listener);
  refresh(first);
  report(first->peer, address, length);
  return fd;
}

long accept_new(VSocket* listener, int fd, int flags) {
  wire::AcceptRecord record;
  int fds[wire::kMaxControlFds], count;
  long r = receive_record(fd, &record, sizeof record, fds, &count, true);
  if (r != 0) return r;
  if (count != 1 || record.magic != wire::kControlMagic) return -EAGAIN;
  VSocket* vs = adopt(listener, record, fds[0]);
  if (!vs) {
    raw::close(fds[0]);
    return -ENFILE;
  }
  if (!(flags & SOCK_CLOEXEC)) raw::fcntl(fds[0], F_SETFD, 0);
  if (flags & SOCK_NONBLOCK) raw::fcntl(fds[0], F_SETFL, raw::fcntl(fds[0], F_GETFL) | O_NONBLOCK);
  return fds[0];
}

}  // namespace

long do_accept(int fd, sockaddr* address, socklen_t* length, int flags) {
  if (!kind_of(fd)) return raw::sys(SYS_accept4, fd, address, length, flags);
  for (;;) {
    {
      Section section;
      rt.events = 0;
      VSocket* vs = virtual_at(fd);
      if (!vs) return raw::sys(SYS_accept4, fd, address, length, flags);
      if (vs->state != ConnState::kListening) return -EINVAL;
      long r = accept_moved(vs, address, length, flags);
      if (r == -EAGAIN) {
        r = accept_new(vs, fd, flags);
        if (r >= 0) report(vsocket_of[r]->peer, address, length);
      }
      if (r != -EAGAIN) return r;
    }
    if (nonblocking(fd)) return -EAGAIN;
    pollfd p{fd, POLLIN, 0};
    long r = ms_stub(reinterpret_cast<long>(&p), 1, -1, 0, 0, 0, SYS_poll, &rt.events, 0xff);
    if (r == -EINTR && !rt.events) return -EINTR;
  }
}

long do_connect(int fd, const sockaddr* address, socklen_t length) {
  if (!kind_of(fd)) return raw::sys(SYS_connect, fd, address, length);
  {
    Section section;
    VSocket* vs = virtual_at(fd);
    if (!vs) return raw::sys(SYS_connect, fd, address, length);
    auto* in = reinterpret_cast<const sockaddr_in*>(address);
    switch (vs->state) {
      case ConnState::kConnecting: return -EALREADY;
      case ConnState::kListening: return -EOPNOTSUPP;
      case ConnState::kFresh:
      case ConnState::kFailed: break;
      default: return -EISCONN;
    }
    if (!address || length < sizeof *in || in->sin_family != AF_INET || !is_virtual(ntohl(in->sin_addr.s_addr))) {
      if (vs->state == ConnState::kFailed) return -EINVAL;
      free_vsocket(vs);  // outside the virtual network: a plain socket, and it stays one
      return raw::sys(SYS_connect, fd, address, length);
    }
    if (!vs->local.port) vs->local.port = ephemeral_port();
    vs->local.ip = rt.vip;
    vs->peer = {ntohl(in->sin_addr.s_addr), ntohs(in->sin_port)};
    vs->connector = true;
    vs->error = 0;
    raw::sys(SYS_getrandom, &vs->conn, sizeof vs->conn, 0);
    set_state(vs, ConnState::kConnecting);
    refresh(vs);
    wire::ControlRecord record;
    record.type = wire::Control::kConnect;
    record.conn = vs->conn;
    record.local = vs->local;
    record.peer = vs->peer;
    record.local_gen = rt.generation;
    send_control(rt.control_fd, record);
  }
  if (nonblocking(fd)) return -EINPROGRESS;
  for (;;) {
    {
      Section section;
      rt.events = 0;
      VSocket* vs = virtual_at(fd);
      if (!vs) return -EBADF;
      if (vs->state == ConnState::kFailed) {
        int error = vs->error;
        vs->error = 0;
        return -error;
      }
      if (vs->state != ConnState::kConnecting) return 0;
    }
    long r = wait_for_event(-1);
    if (r == -EINTR) return r;
  }
}

long do_shutdown(int fd, int how) {
  if (!kind_of(fd)) return raw::shutdown(fd, how);
  Section section;
  VSocket* vs = virtual_at(fd);
  if (!vs) return raw::shutdown(fd, how);
  switch (vs->state) {
    case ConnState::kEstablished:
    case ConnState::kDraining:
    case ConnState::kBuffered:
    case ConnState::kAwaiting: break;
    default: return -ENOTCONN;
  }
  if (how != SHUT_RD) vs->write_shut = true;
  if (how != SHUT_WR) {
    vs->read_shut = true;
    vs->in.clear();
    refresh(vs);
  }
  if (vs->state == ConnState::kAwaiting) return 0;  // applied to the new connection when it comes
  return raw::shutdown(fd, how);
}

namespace {

// The listener goes: nobody will accept what was accepted for it before a move.
void close_unaccepted(const VSocket* listener) {
  for_each_vsocket([&](VSocket* vs) {
    if (!vs->unaccepted || vs->local.port != listener->local.port) return;
    vs->unaccepted = false;
    if (vs->state == ConnState::kAwaiting) {
      vs->orphan = true;
      return;
    }
    int carrier = vs->fd;
    if (vs->old_fd >= 0) raw::close(vs->old_fd);
    vs->old_fd = -1;
    free_vsocket(vs);
    raw::close(carrier);
  });
}

}  // namespace

long do_close(int fd) {
  if (!kind_of(fd)) return raw::close(fd);
  Section section;
  VSocket* vs = virtual_at(fd);
  if (!vs) return raw::close(fd);
  if (count_numbers(vs) > 1) {
    detach(fd);
    return raw::close(fd);
  }
  if (vs->state == ConnState::kAwaiting) {
    long carrier = raw::fcntl(fd, F_DUPFD_CLOEXEC, kHighFd);
    if (carrier >= 0) {
      vs->orphan = true;
      attach(static_cast<int>(carrier), vs);
      detach(fd);
      return raw::close(fd);
    }
  }
  if (vs->state == ConnState::kListening) {
    wire::ControlRecord record;
    record.type = wire::Control::kUnlisten;
    record.local = {rt.vip, vs->local.port};
    send_control(rt.control_fd, record);
    raw::close(vs->option_fd);
    close_unaccepted(vs);
  }
  if (vs->old_fd >= 0) raw::close(vs->old_fd);
  vs->old_fd = -1;
  free_vsocket(vs);
  return raw::close(fd);
}

long do_dup(int fd) {
  if (!kind_of(fd)) return raw::sys(SYS_dup, fd);
  Section section;
  VSocket* vs = virtual_at(fd);
  long copy = raw::sys(SYS_dup, fd);
  if (copy >= 0 && vs) attach(static_cast<int>(copy), vs);
  return copy;
}

long do_dup3(int fd, int to, int flags) {
  if (fd == to) return raw::fcntl(fd, F_GETFD) < 0 ? -EBADF : to;
  if (kind_of(to)) do_close(to);
  if (!kind_of(fd)) return raw::dup3(fd, to, flags);
  Section section;
  VSocket* vs = virtual_at(fd);
  long copy = raw::dup3(fd, to, flags);
  if (copy >= 0 && vs) attach(static_cast<int>(copy), vs);
  return copy;
}

}  // namespace msocket::transport
