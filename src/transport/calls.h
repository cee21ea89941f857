// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The socket calls behind every face of the library (include/msocket/msocket.h). A negative result is -errno.
#pragma once
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

namespace msocket::transport {

// calls_open.cc: how a virtual socket comes to be and how it ends
long do_socket(int domain, int type, int protocol);
long do_bind(int fd, const sockaddr* address, socklen_t length);
long do_listen(int fd, int backlog);
long do_accept(int fd, sockaddr* address, socklen_t* length, int flags);
long do_connect(int fd, const sockaddr* address, socklen_t length);
long do_shutdown(int fd, int how);
long do_close(int fd);
long do_close_range(unsigned first, unsigned last, int flags);
long do_dup(int fd);
long do_dup2(int fd, int to);
long do_dup3(int fd, int to, int flags);
/// `copy` is a new number (or an error) for what is under fd. Lock held.
long note_copy(int fd, long copy);

// calls_io.cc: bytes. read, recv, write and send begin in stub.S: one look at ms_kind[fd] and the system call; what they
// leave (a short count, a slow number: result kRedo) is finished here.
long finish_recv(int fd, void* buffer, size_t length, int flags, long result);
long finish_send(int fd, const void* buffer, size_t length, int flags, long result);
long do_readv(int fd, const iovec* parts, int count);
long do_recv(int fd, void* buffer, size_t length, int flags, sockaddr* address, socklen_t* address_length);
long do_writev(int fd, const iovec* parts, int count);
long do_send(int fd, const void* buffer, size_t length, int flags, const sockaddr* address, socklen_t address_length);

// calls_msg.cc
long do_recvmsg(int fd, msghdr* message, int flags);
long do_sendmsg(int fd, const msghdr* message, int flags);
long do_recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout);
long do_sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags);
long do_sendfile(int out, int in, off_t* offset, size_t count);
long do_splice(int in, off_t* in_offset, int out, off_t* out_offset, size_t length, unsigned flags);

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
long do_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask);
long do_select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout);
long do_pselect(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout, const sigset_t* mask);

// calls_epoll.cc
long do_epoll_create(int flags);
long do_epoll_ctl(int epoll, int operation, int fd, epoll_event* event);
long do_epoll_wait(int epoll, epoll_event* events, int most, int timeout_ms, const sigset_t* mask);

/// The mask for a call that waits with it: the program's, with the control signal let through. `copy` is room for it.
const sigset_t* let_control_through(const sigset_t* mask, uint64_t* copy);

/// True when calls on `fd` do not wait (O_NONBLOCK on what is under the number now).
bool nonblocking(int fd);
/// Waits for a change (runtime.h) unless the descriptor is non-blocking. 0: look again; else the call's result.
long wait_or_again(int fd, int flags, uint32_t epoch);

// One step of a call on a slow number. kRedo: it is not slow any more, or may not be after a wait; else the call's result.
long read_step(int fd, const iovec* parts, size_t count, int flags);
/// The kernel's answer to a call on a virtual number: a reset that the program is told of is never followed by later bytes.
void note_reset(int fd, long r);
long write_step(int fd, const iovec* parts, size_t count, int flags);
// The system call `nr` on fd, guarded; `parts` is the same data for the slow path.
long guarded_read(int fd, long nr, long a2, long a3, long a4, long a5, long a6, const iovec* parts, size_t count, int flags);
long guarded_write(int fd, long nr, long a2, long a3, long a4, long a5, long a6, const iovec* parts, size_t count, int flags);
/// Writes what is left of a vector of which `done` bytes are written, if the socket waits; returns how much is written in all.
long write_parts(int fd, const iovec* parts, size_t count, size_t done, int flags);
/// The same for a read with MSG_WAITALL.
long read_parts(int fd, const iovec* parts, size_t count, size_t done, int flags);

}  // namespace msocket::transport
