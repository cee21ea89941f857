// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/calls_udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "src/transport/calls.h"
#include "src/transport/raw.h"
#include "src/transport/readiness.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"
#include "src/transport/udp.h"

namespace msocket::transport {

namespace {

// How long a send waits for the daemon to say where the receiver is. Past that the datagram is lost, as others are while ARP
// finds out about a host.
constexpr int64_t kPatienceMs = 3000, kPatienceNonblockingMs = 100;

int64_t now_ms() { return now_ns() / kNsInMs; }

VSocket* datagram_at(int fd) {
  VSocket* vs = kind_of(fd) ? vsocket_of[fd] : nullptr;
  return vs && vs->datagram != Datagram::kNo ? vs : nullptr;
}

bool is_virtual(uint32_t ip) { return (ip & rt.netmask) == rt.network; }

bool undecided(const VSocket* vs) {
  return vs->datagram == Datagram::kUndecided || (vs->local.ip == INADDR_ANY && !vs->talked);
}

long take_error(VSocket* vs) {
  int error = vs->error;
  vs->error = 0;
  return -error;
}

// The port and the real socket that every use in the virtual network needs.
long ready(VSocket* vs) { return vs->datagram == Datagram::kVirtual ? 0 : become_virtual(vs, INADDR_ANY, 0); }

// Lock held. 0: `to` is virtual, and the socket is; kNotDatagram: the first use says that this socket is for the real network.
long destination(VSocket* vs, const sockaddr* address, socklen_t length, Endpoint* to) {
  *to = vs->peer;
  if (address) {
    auto* in = reinterpret_cast<const sockaddr_in*>(address);
    if (length < sizeof *in) return -EINVAL;
    if (in->sin_family != AF_INET && in->sin_family != AF_UNSPEC) return -EAFNOSUPPORT;
    *to = {ntohl(in->sin_addr.s_addr), ntohs(in->sin_port)};
    if (!is_virtual(to->ip)) {
      if (!undecided(vs)) return -ENETUNREACH;
      long r = become_plain(vs);
      return r < 0 ? r : kNotDatagram;
    }
  }
  if (!to->ip) return -EDESTADDRREQ;
  return to->port ? 0 : -EINVAL;
}

// Waits until the socket is ready for `events`, something has changed, or the time is over. 0: look again.
long wait_ready(int fd, short events, int64_t limit_ms, uint32_t epoch) {
  pollfd p{fd, events, 0};
  int limit = limit_ms < 0 ? -1 : static_cast<int>(limit_ms);
  uint32_t signals = rt.signals;
  long r = ms_stub_equal(reinterpret_cast<long>(&p), 1, limit, 0, 0, 0, SYS_poll, &rt.epoch, epoch);
  return r == -EINTR && rt.signals == signals ? r : 0;
}

int64_t receive_timeout(int fd) {  // SO_RCVTIMEO; -1: none
  timeval t{};
  socklen_t length = sizeof t;
  raw::getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, &length);
  return t.tv_sec || t.tv_usec ? t.tv_sec * 1000LL + t.tv_usec / 1000 : -1;
}

void report(const Endpoint& from, sockaddr* address, socklen_t* length) {
  if (!address || !length) return;
  sockaddr_in in;
  memset(&in, 0, sizeof in);
  in.sin_family = AF_INET;
  in.sin_port = htons(from.port);
  in.sin_addr.s_addr = htonl(from.ip);
  memcpy(address, &in, *length < sizeof in ? *length : sizeof in);
  *length = sizeof in;
}

size_t scatter(const Received& got, const iovec* parts, int count) {
  size_t done = 0;
  for (int i = 0; i < count && done < got.size; ++i) {
    size_t n = got.size - done < parts[i].iov_len ? got.size - done : parts[i].iov_len;
    memcpy(parts[i].iov_base, got.data + done, n);
    done += n;
  }
  return done;
}

long send_one(int fd, const iovec* parts, int count, int flags, const sockaddr* address, socklen_t length) {
  size_t size = 0;
  for (int i = 0; i < count; ++i) size += parts[i].iov_len;
  for (;;) {
    int64_t wait = -1;
    uint32_t epoch;
    {
      Section section;
      epoch = section.epoch();
      VSocket* vs = datagram_at(fd);
      if (!vs) return kNotDatagram;
      Endpoint to;
      if (long r = destination(vs, address, length, &to); r != 0) return r;
      if (flags & (MSG_OOB | MSG_MORE)) return -EOPNOTSUPP;
      if (size > wire::kMaxDatagramPayload) return -EMSGSIZE;
      if (vs->write_shut) return -EPIPE;
      if (vs->error) return take_error(vs);
      if (long r = ready(vs); r < 0) return r;
      vs->talked = true;
      int64_t now = now_ms();
      PlaceEntry* place = place_of(to, now);
      bool may_wait = !(flags & MSG_DONTWAIT) && !nonblocking(fd);
      if (place->state == PlaceEntry::kKnown) {
        long r = transmit(vs, parts, count, size, to, place->real);
        if (r != -EAGAIN || !may_wait) return r;
      } else {
        wait = place->state == PlaceEntry::kNobody
                   ? 0
                   : place->since + (may_wait ? kPatienceMs : kPatienceNonblockingMs) - now;
        if (wait <= 0) {
          ++datagram_counts.nowhere;
          if (place->error == ECONNREFUSED && to == vs->peer) vs->error = ECONNREFUSED;
          return static_cast<long>(size);
        }
      }
    }
    long r = wait < 0 ? wait_ready(fd, POLLOUT, -1, epoch) : wait_for_change(epoch, static_cast<int>(wait));
    if (r == -EINTR) return r;
  }
}

// `out_flags` gets MSG_TRUNC when the datagram was longer than the parts.
long receive_one(int fd, const iovec* parts, int count, int flags, sockaddr* address, socklen_t* length, int* out_flags) {
  if (flags & MSG_OOB) return -EOPNOTSUPP;
  if (flags & MSG_ERRQUEUE) return -EAGAIN;
  int64_t limit = 0;
  for (;;) {
    long r;
    uint32_t epoch;
    {
      Section section;
      epoch = section.epoch();
      VSocket* vs = datagram_at(fd);
      if (!vs) return kNotDatagram;
      if (vs->error) return take_error(vs);
      Received got;
      r = next_datagram(vs, flags & MSG_PEEK, &got);
      if (r == 0) {
        vs->talked = true;
        size_t n = scatter(got, parts, count);
        report(got.from, address, length);
        if (n < got.size) *out_flags |= MSG_TRUNC;
        return static_cast<long>(flags & MSG_TRUNC ? got.size : n);
      }
      if (r != -EAGAIN && r != -EINTR) return r;
      if (r == -EAGAIN && vs->read_shut) return 0;
    }
    if (r == -EINTR) continue;  // strangers; there may be more
    if ((flags & MSG_DONTWAIT) || nonblocking(fd)) return -EAGAIN;
    int64_t timeout = receive_timeout(fd);
    if (timeout < 0) {
      // Waits as the call itself would: so the kernel knows which signals restart it.
      uint32_t signals = rt.signals;
      r = ms_stub_equal(fd, 0, 0, MSG_PEEK, 0, 0, SYS_recvfrom, &rt.epoch, epoch);
      if (r < 0 && r != kRedo && !(r == -EINTR && rt.signals != signals)) return r;
      continue;
    }
    int64_t now = now_ms();
    if (!limit) limit = now + timeout + 1;  // both are rounded down
    if (now >= limit) return -EAGAIN;
    if (wait_ready(fd, POLLIN, limit - now, epoch) == -EINTR) return -EINTR;
  }
}

}  // namespace

long do_bind_udp(VSocket* vs, const sockaddr* address, socklen_t length) {
  auto* in = reinterpret_cast<const sockaddr_in*>(address);
  if (vs->datagram == Datagram::kVirtual) return -EINVAL;
  if (!address || length < sizeof *in) return -EINVAL;
  if (in->sin_family != AF_INET && in->sin_family != AF_UNSPEC) return -EAFNOSUPPORT;
  uint32_t ip = ntohl(in->sin_addr.s_addr);
  if (ip == INADDR_ANY || ip == rt.vip) return become_virtual(vs, ip, ntohs(in->sin_port));
  if (is_virtual(ip)) return -EADDRNOTAVAIL;
  long r = become_plain(vs);  // a real address of this host, or of a group
  return r < 0 ? r : kNotDatagram;
}

long do_connect_udp(VSocket* vs, const sockaddr* address, socklen_t length) {
  if (!address || length < sizeof(sa_family_t)) return -EINVAL;
  if (address->sa_family == AF_UNSPEC) {
    vs->peer = {};
    vs->error = 0;
    return 0;
  }
  Endpoint to;
  if (long r = destination(vs, address, length, &to); r != 0) return r;
  if (long r = ready(vs); r < 0) return r;
  vs->local.ip = rt.vip;
  vs->talked = true;
  vs->peer = to;
  vs->error = 0;
  return 0;
}

long do_shutdown_udp(VSocket* vs, int how) {
  if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return -EINVAL;
  if (!vs->peer.port) return -ENOTCONN;
  if (how != SHUT_RD) vs->write_shut = true;
  if (how != SHUT_WR) vs->read_shut = true;
  raw::shutdown(vs->fd, how);  // says ENOTCONN, and does it: poll knows from here on
  return 0;
}

long next_size_udp(VSocket* vs) {
  Received got;
  return next_datagram(vs, true, &got) == 0 ? static_cast<long>(got.size) : 0;
}

long do_sendmsg_udp(int fd, const msghdr* message, int flags) {
  long r = send_one(fd, message->msg_iov, static_cast<int>(message->msg_iovlen), flags,
                    static_cast<const sockaddr*>(message->msg_name), message->msg_namelen);
  return r != kNotDatagram ? r : raw::sys(SYS_sendmsg, fd, message, flags);
}

long do_recvmsg_udp(int fd, msghdr* message, int flags) {
  int out_flags = 0;
  socklen_t length = message->msg_namelen;
  long r = receive_one(fd, message->msg_iov, static_cast<int>(message->msg_iovlen), flags,
                       static_cast<sockaddr*>(message->msg_name), &length, &out_flags);
  if (r == kNotDatagram) return raw::sys(SYS_recvmsg, fd, message, flags);
  if (r < 0) return r;
  message->msg_namelen = message->msg_name ? length : 0;
  message->msg_controllen = 0;
  message->msg_flags = out_flags;
  return r;
}

long do_send_udp(int fd, const iovec* parts, int count, int flags, const sockaddr* address, socklen_t length) {
  msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_name = const_cast<sockaddr*>(address);
  message.msg_namelen = address ? length : 0;
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<size_t>(count);
  return do_sendmsg_udp(fd, &message, flags);
}

long do_recv_udp(int fd, const iovec* parts, int count, int flags, sockaddr* address, socklen_t* length) {
  msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_name = length ? address : nullptr;
  message.msg_namelen = length ? *length : 0;
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<size_t>(count);
  long r = do_recvmsg_udp(fd, &message, flags);
  if (r >= 0 && length) *length = message.msg_namelen;
  return r;
}

}  // namespace msocket::transport
