// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <netinet/in.h>
#include <string.h>

#include "src/transport/calls.h"
#include "src/transport/calls_udp.h"
#include "src/transport/channel.h"
#include "src/transport/drain.h"
#include "src/transport/names.h"
#include "src/transport/options.h"
#include "src/transport/raw.h"
#include "src/transport/redirect.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"
#include "src/transport/udp.h"
#include "src/transport/watches.h"

namespace msocket::transport {

namespace {

// Ports belong to the process's own virtual address, so nobody else can have taken one.
uint16_t ephemeral_port() {
  for (;;) {
    if (rt.next_port < 32768) rt.next_port = 32768;
    uint16_t port = rt.next_port++;
    bool taken = false;
    for_each_vsocket([&](VSocket* vs) { taken |= vs->datagram == Datagram::kNo && vs->local.port == port; });
    if (!taken) return port;
  }
}

bool port_taken(uint16_t port) {
  bool taken = false;
  for_each_vsocket([&](VSocket* vs) {
    taken |= vs->state <= ConnState::kListening && vs->datagram == Datagram::kNo && vs->local.port == port && !vs->quiet;
  });
  return taken;
}

VSocket* virtual_at(int fd) { return kind_of(fd) ? vsocket_of[fd] : nullptr; }

// The kernel socket under its numbers is what the program has from here on.
void make_plain(VSocket* vs) {
  for_each_number(vs, [&](int fd) { drop_watches(vs, fd, true); });
  free_vsocket(vs);
}

}  // namespace

bool nonblocking(int fd) { return raw::fcntl(fd, F_GETFL) & O_NONBLOCK; }

long wait_or_again(int fd, int flags, uint32_t epoch) {
  if ((flags & MSG_DONTWAIT) || nonblocking(fd)) return -EAGAIN;
  return wait_for_change(epoch, -1);
}

long do_socket(int domain, int type, int protocol) {
  bool tcp = (domain == AF_INET || domain == AF_INET6) && (type & 0xf) == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP);
  bool udp = domain == AF_INET && (type & 0xf) == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP);
  if (!rt.active || (!tcp && !udp)) return raw::socket(domain, type, protocol);
  Section section;  // a freeze in between would find a socket that is in no table
  long fd = raw::socket(domain, type, protocol);
  if (fd < 0 || fd >= kMaxFd) return fd;
  VSocket* vs = allocate_vsocket();
  if (!vs) {
    raw::close(static_cast<int>(fd));
    return -ENFILE;
  }
  vs->family6 = domain == AF_INET6;
  if (udp) make_datagram(vs);
  else set_state(vs, ConnState::kFresh);
  attach(static_cast<int>(fd), vs);
  return fd;
}

namespace {
bool v6_only(int fd) {
  int value = 0;
  unsigned length = sizeof value;
  return raw::getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, &length) == 0 && value;
}
}  // namespace

long do_bind(int fd, const sockaddr* address, socklen_t length) {
  if (kind_of(fd)) {
    Section section;
    VSocket* vs = virtual_at(fd);
    if (vs && vs->datagram != Datagram::kNo) {
      long r = do_bind_udp(vs, address, length);
      if (r != kNotDatagram) return r;
    } else if (vs) {
      if (vs->state != ConnState::kFresh || vs->local.port) return -EINVAL;
      Endpoint wanted;
      NameKind name = read_name(address, length, &wanted);
      bool quiet = name == NameKind::kAny && vs->family6 && v6_only(fd);
      if (name == NameKind::kVirtual && wanted.ip != rt.vip) return -EADDRNOTAVAIL;
      if (name != NameKind::kOther) {
        if (wanted.port && !quiet && port_taken(wanted.port)) return -EADDRINUSE;
        vs->quiet = quiet;
        vs->local = {wanted.ip, wanted.port ? wanted.port : ephemeral_port(), 0};
        return 0;
      }
      make_plain(vs);  // a real address of this host
    }
  }
  return raw::sys(SYS_bind, fd, address, length);
}

long do_listen(int fd, int backlog) {
  if (!kind_of(fd)) return raw::sys(SYS_listen, fd, backlog);
  Section section;
  VSocket* vs = virtual_at(fd);
  if (vs && vs->state == ConnState::kListening) return 0;
  if (vs && vs->datagram != Datagram::kNo) return -EOPNOTSUPP;
  if (!vs || vs->state != ConnState::kFresh) return -EINVAL;
  if (!vs->local.port) vs->local.port = ephemeral_port();
  int pair[2];
  long r = raw::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, pair);
  if (r < 0) return r;
  vs->option_fd = copy_high(vs->fd);
  vs->backlog = backlog;
  r = announce_listener(vs, pair[1]);
  if (nonblocking(vs->fd)) raw::fcntl(pair[0], F_SETFL, O_NONBLOCK);
  take_out_watches(vs);  // an epoll set may have it already
  for_each_number(vs, [&](int number) {
    raw::dup3(pair[0], number, raw::fcntl(number, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0);
  });
  raw::close(pair[0]);
  set_state(vs, ConnState::kListening);
  refresh(vs);
  return r;
}

namespace {

// A connection that waits in the tables since this process or its peer moved.
long accept_moved(VSocket* listener, sockaddr* address, socklen_t* length, int flags) {
  VSocket* first = nullptr;
  if (listener->quiet) return -EAGAIN;
  for_each_vsocket([&](VSocket* vs) {
    if (!vs->unaccepted || vs->local.port != listener->local.port) return;
    if (!first || vs->unaccepted < first->unaccepted) first = vs;
  });
  if (!first) return -EAGAIN;
  int carrier = first->fd;
  long fd = raw::fcntl(carrier, flags & SOCK_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
  if (fd < 0) return fd;
  long mode = raw::fcntl(carrier, F_GETFL);
  raw::fcntl(carrier, F_SETFL, flags & SOCK_NONBLOCK ? mode | O_NONBLOCK : mode & ~O_NONBLOCK);
  first->unaccepted = 0;
  attach(static_cast<int>(fd), first);
  detach(carrier);
  raw::close(carrier);
  refresh(listener);
  refresh(first);
  write_name(first, first->peer, address, length);
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
    uint32_t epoch;
    {
      Section section;
      epoch = section.epoch();
      VSocket* vs = virtual_at(fd);
      if (!vs) return raw::sys(SYS_accept4, fd, address, length, flags);
      if (vs->state != ConnState::kListening) return vs->datagram != Datagram::kNo ? -EOPNOTSUPP : -EINVAL;
      long r = accept_moved(vs, address, length, flags);
      if (r == -EAGAIN) {
        r = accept_new(vs, fd, flags);
        if (r >= 0) write_name(vsocket_of[r], vsocket_of[r]->peer, address, length);
      }
      if (r != -EAGAIN) return r;
    }
    if (nonblocking(fd)) return -EAGAIN;
    // Not by poll, which no signal restarts: a handler with SA_RESTART must not be seen here.
    char byte;
    uint32_t signals = rt.signals;
    long r = ms_stub_equal(fd, reinterpret_cast<long>(&byte), 1, MSG_PEEK, 0, 0, SYS_recvfrom, &rt.epoch, epoch);
    if (r == -EINTR && rt.signals == signals) return -EINTR;
  }
}

long do_connect(int fd, const sockaddr* address, socklen_t length) {
  if (!kind_of(fd)) return raw::sys(SYS_connect, fd, address, length);
  {
    Section section;
    VSocket* vs = virtual_at(fd);
    if (!vs) return raw::sys(SYS_connect, fd, address, length);
    if (vs->datagram != Datagram::kNo) {
      long r = do_connect_udp(vs, address, length);
      return r != kNotDatagram ? r : raw::sys(SYS_connect, fd, address, length);
    }
    switch (vs->state) {
      case ConnState::kConnecting: return -EALREADY;
      case ConnState::kListening: return -EOPNOTSUPP;
      case ConnState::kFresh:
      case ConnState::kFailed: break;
      default: return -EISCONN;
    }
    Endpoint peer;
    if (read_name(address, length, &peer) != NameKind::kVirtual) {
      if (vs->state == ConnState::kFailed) return -EINVAL;
      make_plain(vs);  // outside the virtual network: a plain socket, and it stays one
      return raw::sys(SYS_connect, fd, address, length);
    }
    if (!vs->local.port) vs->local.port = ephemeral_port();
    vs->local.ip = rt.vip;
    vs->peer = peer;
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
    uint32_t epoch;
    {
      Section section;
      epoch = section.epoch();
      VSocket* vs = virtual_at(fd);
      if (!vs) return -EBADF;
      if (vs->state == ConnState::kFailed) {
        int error = vs->error;
        vs->error = 0;
        return -error;
      }
      if (vs->state != ConnState::kConnecting) return 0;
    }
    long r = wait_for_change(epoch, -1);
    if (r == -EINTR) return r;
  }
}

long do_shutdown(int fd, int how) {
  if (!kind_of(fd)) return raw::shutdown(fd, how);
  Section section;
  VSocket* vs = virtual_at(fd);
  if (!vs) return raw::shutdown(fd, how);
  if (vs->datagram != Datagram::kNo) return do_shutdown_udp(vs, how);
  switch (vs->state) {
    case ConnState::kEstablished:
    case ConnState::kDraining:
    case ConnState::kBuffered:
    case ConnState::kAwaiting: break;
    default: return -ENOTCONN;
  }
  note_arrival(vs);  // poll says at once what is over
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

// What waits for a listener that is closed now: its peers see the end, as with the kernel's queue.
void drop_unaccepted(uint16_t port) {
  for_each_vsocket([port](VSocket* vs) {
    if (!vs->unaccepted || vs->local.port != port) return;
    vs->unaccepted = 0;
    if (vs->state == ConnState::kAwaiting) {
      vs->orphan = true;  // closed when its new connection is there
      return;
    }
    int carrier = vs->fd;
    close_own(vs->old_fd);
    free_vsocket(vs);
    raw::close(carrier);
  });
}

}  // namespace

long do_close(int fd) {
  if (!kind_of(fd)) return raw::close(fd);
  Section section;
  if (kind_of(fd) & kOwn) return -EBADF;
  if (kind_of(fd) & kEpoll) remove_epoll(fd);
  VSocket* vs = virtual_at(fd);
  if (!vs) return raw::close(fd);
  if (vs->numbers > 1) {
    detach(fd);
    return raw::close(fd);
  }
  // What the daemon is about to bring comes first. (A connect() under way holds up the freeze: the daemon counts on it.)
  if (vs->state == ConnState::kAwaiting || vs->state == ConnState::kConnecting) {
    long carrier = raw::fcntl(fd, F_DUPFD_CLOEXEC, rt.high_from);
    if (carrier >= 0) {
      vs->orphan = true;
      attach(static_cast<int>(carrier), vs);
      detach(fd);
      return raw::close(fd);
    }
  }
  datagram_closed(vs);
  if (vs->state == ConnState::kListening) {
    wire::ControlRecord record;
    record.type = wire::Control::kUnlisten;
    record.local = {rt.vip, vs->local.port};
    if (!vs->quiet) send_control(rt.control_fd, record);
    close_own(vs->option_fd);
    close_own(vs->quiet_fd);
    drop_unaccepted(vs->local.port);
  }
  if (vs->old_fd >= 0) close_own(vs->old_fd);
  vs->old_fd = -1;
  free_vsocket(vs);
  return raw::close(fd);
}

long do_close_range(unsigned first, unsigned last, int flags) {
  if (first > last) return -EINVAL;
  unsigned from = first;
  auto close_plain = [&](unsigned end) {  // [from, end)
    return end > from ? raw::sys(SYS_close_range, from, end - 1, flags) : 0;
  };
  unsigned limit = kMaxFd;
  for (unsigned fd = first; fd <= last && fd < limit; ++fd) {
    if (!ms_kind[fd]) continue;
    close_plain(fd);
    from = fd + 1;
    if (flags & CLOSE_RANGE_CLOEXEC) raw::fcntl(static_cast<int>(fd), F_SETFD, FD_CLOEXEC);
    else do_close(static_cast<int>(fd));
  }
  if (from > last) return 0;
  return raw::sys(SYS_close_range, from, last, flags);
}

long note_copy(int fd, long copy) {
  if (copy < 0) return copy;
  bool too_high = copy >= kMaxFd, no_room = false;
  if (kind_of(fd) & kEpoll) no_room = too_high || !add_epoll(static_cast<int>(copy), fd);
  else if (VSocket* vs = vsocket_of[fd]; vs && !too_high) attach(static_cast<int>(copy), vs);
  else no_room = too_high;
  if (!no_room) return copy;
  raw::close(static_cast<int>(copy));
  return -EMFILE;
}

long do_dup(int fd) {
  if (!kind_of(fd)) return raw::sys(SYS_dup, fd);
  Section section;
  return note_copy(fd, raw::sys(SYS_dup, fd));
}

long do_dup2(int fd, int to) {
  if (fd == to) return raw::fcntl(fd, F_GETFD) < 0 ? -EBADF : to;
  return do_dup3(fd, to, 0);
}

long do_dup3(int fd, int to, int flags) {
  if (fd == to || raw::fcntl(fd, F_GETFD) < 0) return raw::dup3(fd, to, flags);
  if (kind_of(to) & kOwn) return -EBUSY;
  if (kind_of(to)) do_close(to);
  if (!kind_of(fd)) return raw::dup3(fd, to, flags);
  Section section;
  return note_copy(fd, raw::dup3(fd, to, flags));
}

}  // namespace msocket::transport
