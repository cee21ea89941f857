// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The calls on datagram sockets (those of calls.h dispatch to them). A negative result is -errno.
#pragma once
#include <sys/socket.h>
#include <sys/uio.h>

#include "src/transport/vsocket.h"

namespace msocket::transport {

/// It has turned out to be a plain socket: the caller makes the plain system call.
inline constexpr long kNotDatagram = -4098;

inline bool is_datagram(int fd) { return kind_of(fd) & kDatagramKind; }

long do_bind_udp(VSocket* vs, const sockaddr* address, socklen_t length);     // lock held
long do_connect_udp(VSocket* vs, const sockaddr* address, socklen_t length);  // lock held
long do_shutdown_udp(VSocket* vs, int how);                                   // lock held
/// FIONREAD: the size of the next datagram. Lock held.
long next_size_udp(VSocket* vs);

/// These take the lock themselves, and never return kNotDatagram. Ancillary data is neither sent nor received.
long do_sendmsg_udp(int fd, const msghdr* message, int flags);
long do_recvmsg_udp(int fd, msghdr* message, int flags);

/// The same for the calls without a msghdr.
long do_send_udp(int fd, const iovec* parts, int count, int flags, const sockaddr* address, socklen_t length);
long do_recv_udp(int fd, const iovec* parts, int count, int flags, sockaddr* address, socklen_t* length);

}  // namespace msocket::transport
