// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The socket calls behind every face of the library (include/msocket/msocket.h). A negative result is -errno.
#pragma once
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace msocket::transport {

// calls_open.cc: how a virtual socket comes to be and how it ends
long do_socket(int domain, int type, int protocol);
long do_bind(int fd, const sockaddr* address, socklen_t length);
long do_listen(int fd, int backlog);
long do_accept(int fd, sockaddr* address, socklen_t* length, int flags);
long do_connect(int fd, const sockaddr* address, socklen_t length);
long do_shutdown(int fd, int how);
long do_close(int fd);
long do_dup(int fd);
long do_dup3(int fd, int to, int flags);

// calls_io.cc: bytes. The fast path is one look at kind[fd] and the system call.
long do_read(int fd, void* buffer, size_t count);
long do_readv(int fd, const iovec* parts, int count);
long do_recv(int fd, void* buffer, size_t count, int flags, sockaddr* address, socklen_t* length);
long do_write(int fd, const void* buffer, size_t count);
long do_writev(int fd, const iovec* parts, int count);
long do_send(int fd, const void* buffer, size_t count, int flags, const sockaddr* address, socklen_t length);

// calls_name.cc: options, flags, names
long do_fcntl(int fd, int command, long argument);
long do_ioctl(int fd, unsigned long request, long argument);
long do_setsockopt(int fd, int level, int name, const void* value, socklen_t length);
long do_getsockopt(int fd, int level, int name, void* value, socklen_t* length);
long do_getsockname(int fd, sockaddr* address, socklen_t* length);
long do_getpeername(int fd, sockaddr* address, socklen_t* length);
long do_gethostname(char* name, size_t length);

// calls_poll.cc
long do_poll(pollfd* fds, nfds_t count, int timeout_ms);

/// True when calls on `fd` do not wait (O_NONBLOCK on what is under the number now).
bool nonblocking(int fd);
/// Waits for a change (runtime.h) unless the descriptor is non-blocking. 0: look again; else the call's result.
long wait_or_again(int fd, int flags);

}  // namespace msocket::transport
