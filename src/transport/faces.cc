// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Two faces of the calls: ms_X for programs that are written against msocket.h, and __wrap_X, to which the linker's --wrap
// binds libmpi's own calls. The third, under libc's own names, is src/preload. Here, and only here, -errno becomes errno.
// ms_send, ms_recv, ms_write and ms_read begin in stub.S.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "include/msocket/msocket.h"
#include "src/transport/calls.h"
#include "src/transport/exec.h"
#include "src/transport/runtime.h"
#include "src/transport/restart.h"
#include "src/transport/stub.h"
#include "src/transport/udp.h"
#include "src/transport/vsocket.h"

using namespace msocket::transport;

namespace {
inline long result(long r) {
  if (__builtin_expect(r >= 0, 1)) return r;
  errno = static_cast<int>(-r);
  return -1;
}
}  // namespace

ssize_t ms_finish_send(int fd, const void* buffer, size_t length, int flags, long r) {
  return result(finish_send(fd, buffer, length, flags, r));
}
ssize_t ms_finish_recv(int fd, void* buffer, size_t length, int flags, long r) {
  return result(finish_recv(fd, buffer, length, flags, r));
}
ssize_t ms_finish_write(int fd, const void* buffer, size_t length, int, long r) {
  return result(finish_send(fd, buffer, length, 0, r));
}
ssize_t ms_finish_read(int fd, void* buffer, size_t length, int, long r) {
  return result(finish_recv(fd, buffer, length, 0, r));
}

#define MS_EXPORT extern "C" __attribute__((visibility("default")))
#define MS_FACE(type, name, parameters, call)                              \
  MS_EXPORT type ms_##name parameters { return static_cast<type>(result(call)); } \
  MS_EXPORT type __wrap_##name parameters __attribute__((alias("ms_" #name)));

MS_FACE(int, socket, (int domain, int type, int protocol), do_socket(domain, type, protocol))
MS_FACE(int, bind, (int fd, const sockaddr* address, socklen_t length), do_bind(fd, address, length))
MS_FACE(int, listen, (int fd, int backlog), do_listen(fd, backlog))
MS_FACE(int, accept, (int fd, sockaddr* address, socklen_t* length), do_accept(fd, address, length, 0))
MS_FACE(int, accept4, (int fd, sockaddr* address, socklen_t* length, int flags), do_accept(fd, address, length, flags))
MS_FACE(int, connect, (int fd, const sockaddr* address, socklen_t length), do_connect(fd, address, length))
MS_FACE(int, shutdown, (int fd, int how), do_shutdown(fd, how))
MS_FACE(int, close, (int fd), do_close(fd))
MS_FACE(int, dup, (int fd), do_dup(fd))
MS_FACE(int, dup2, (int fd, int to), do_dup2(fd, to))
MS_FACE(int, dup3, (int fd, int to, int flags), do_dup3(fd, to, flags))

MS_FACE(ssize_t, readv, (int fd, const iovec* parts, int count), do_readv(fd, parts, count))
MS_FACE(ssize_t, recvfrom,
        (int fd, void* buffer, size_t count, int flags, sockaddr* address, socklen_t* length),
        do_recv(fd, buffer, count, flags, address, length))
MS_FACE(ssize_t, recvmsg, (int fd, msghdr* message, int flags), do_recvmsg(fd, message, flags))
MS_FACE(int, recvmmsg, (int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout),
        do_recvmmsg(fd, messages, count, flags, timeout))
MS_FACE(ssize_t, writev, (int fd, const iovec* parts, int count), do_writev(fd, parts, count))
MS_FACE(ssize_t, sendto,
        (int fd, const void* buffer, size_t count, int flags, const sockaddr* address, socklen_t length),
        do_send(fd, buffer, count, flags, address, length))
MS_FACE(ssize_t, sendmsg, (int fd, const msghdr* message, int flags), do_sendmsg(fd, message, flags))
MS_FACE(int, sendmmsg, (int fd, mmsghdr* messages, unsigned count, int flags), do_sendmmsg(fd, messages, count, flags))
MS_FACE(ssize_t, sendfile, (int out, int in, off_t* offset, size_t count), do_sendfile(out, in, offset, count))
MS_FACE(ssize_t, splice, (int in, off_t* in_offset, int out, off_t* out_offset, size_t length, unsigned flags),
        do_splice(in, in_offset, out, out_offset, length, flags))

MS_FACE(int, setsockopt, (int fd, int level, int name, const void* value, socklen_t length),
        do_setsockopt(fd, level, name, value, length))
MS_FACE(int, getsockopt, (int fd, int level, int name, void* value, socklen_t* length),
        do_getsockopt(fd, level, name, value, length))
MS_FACE(int, getsockname, (int fd, sockaddr* address, socklen_t* length), do_getsockname(fd, address, length))
MS_FACE(int, getpeername, (int fd, sockaddr* address, socklen_t* length), do_getpeername(fd, address, length))
MS_FACE(int, gethostname, (char* name, size_t length), do_gethostname(name, length))

MS_FACE(int, poll, (pollfd* fds, nfds_t count, int timeout_ms), do_poll(fds, count, timeout_ms))
MS_FACE(int, ppoll, (pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask),
        do_ppoll(fds, count, timeout, mask))
MS_FACE(int, select, (int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout),
        do_select(count, read, write, except, timeout))
MS_FACE(int, pselect,
        (int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout, const sigset_t* mask),
        do_pselect(count, read, write, except, timeout, mask))
MS_FACE(int, epoll_create1, (int flags), do_epoll_create(flags))
MS_FACE(int, epoll_create, (int size), size > 0 ? do_epoll_create(0) : -EINVAL)
MS_FACE(int, epoll_ctl, (int epoll, int operation, int fd, epoll_event* event), do_epoll_ctl(epoll, operation, fd, event))
MS_FACE(int, epoll_wait, (int epoll, epoll_event* events, int most, int timeout_ms),
        do_epoll_wait(epoll, events, most, timeout_ms, nullptr))
MS_FACE(int, epoll_pwait, (int epoll, epoll_event* events, int most, int timeout_ms, const sigset_t* mask),
        do_epoll_wait(epoll, events, most, timeout_ms, mask))

namespace {
// epoll's own calls count in milliseconds; rounded up, so that nobody wakes too early.
long pwait2(int epoll, epoll_event* events, int most, const timespec* timeout, const sigset_t* mask) {
  if (!timeout) return do_epoll_wait(epoll, events, most, -1, mask);
  long long ms = timeout->tv_sec * 1000LL + (timeout->tv_nsec + 999999) / 1000000;
  return do_epoll_wait(epoll, events, most, ms > 0x7fffffff ? 0x7fffffff : static_cast<int>(ms), mask);
}
}  // namespace
MS_FACE(int, epoll_pwait2, (int epoll, epoll_event* events, int most, const timespec* timeout, const sigset_t* mask),
        pwait2(epoll, events, most, timeout, mask))

// The variadic ones: every command's argument is one register wide.
MS_EXPORT int ms_fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  long argument = va_arg(arguments, long);
  va_end(arguments);
  return static_cast<int>(result(do_fcntl(fd, command, argument)));
}
MS_EXPORT int __wrap_fcntl(int fd, int command, ...) __attribute__((alias("ms_fcntl")));
MS_EXPORT int __wrap_fcntl64(int fd, int command, ...) __attribute__((alias("ms_fcntl")));

MS_EXPORT int ms_ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  long argument = va_arg(arguments, long);
  va_end(arguments);
  return static_cast<int>(result(do_ioctl(fd, request, argument)));
}
MS_EXPORT int __wrap_ioctl(int fd, unsigned long request, ...) __attribute__((alias("ms_ioctl")));

MS_FACE(int, execve, (const char* path, char* const* arguments, char* const* environment),
        static_cast<int>(do_execve(path, arguments, environment)))
MS_FACE(int, close_range, (unsigned first, unsigned last, int flags), do_close_range(first, last, flags))
MS_EXPORT void ms_closefrom(int first) { do_close_range(first < 0 ? 0 : static_cast<unsigned>(first), ~0u, 0); }

MS_EXPORT int ms_is_virtual(int fd) { return (kind_of(fd) & kVirtual) != 0; }
MS_EXPORT void ms_look_again(void* context) {
  if (!context) {
    handlers_look_again = true;
    return;
  }
  rewind_stub(static_cast<ucontext_t*>(context), false);
  end_call(static_cast<ucontext_t*>(context));
}
MS_EXPORT unsigned int ms_virtual_address(void) { return rt.active ? __builtin_bswap32(rt.vip) : 0; }
MS_EXPORT unsigned int ms_generation(void) { return rt.active ? rt.generation : 0; }
MS_EXPORT unsigned long ms_datagrams_dropped(void) {
  return datagram_counts.strangers + datagram_counts.replays + datagram_counts.unwanted;
}
