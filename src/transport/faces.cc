// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The two faces of the calls: ms_X for programs that are written against msocket.h, and __wrap_X, to which the linker's
// --wrap binds libmpi's own calls. Here, and only here, -errno becomes errno.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "include/msocket/msocket.h"
#include "src/transport/calls.h"
#include "src/transport/runtime.h"
#include "src/transport/udp.h"

using namespace msocket::transport;

namespace {
inline long result(long r) {
  if (__builtin_expect(r >= 0, 1)) return r;
  errno = static_cast<int>(-r);
  return -1;
}
}  // namespace

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
MS_FACE(int, dup2, (int fd, int to), do_dup3(fd, to, 0))
MS_FACE(ssize_t, read, (int fd, void* buffer, size_t count), do_read(fd, buffer, count))
MS_FACE(ssize_t, readv, (int fd, const iovec* parts, int count), do_readv(fd, parts, count))
MS_FACE(ssize_t, recv, (int fd, void* buffer, size_t count, int flags), do_recv(fd, buffer, count, flags, nullptr, nullptr))
MS_FACE(ssize_t, recvfrom,
        (int fd, void* buffer, size_t count, int flags, sockaddr* address, socklen_t* length),
        do_recv(fd, buffer, count, flags, address, length))
MS_FACE(ssize_t, write, (int fd, const void* buffer, size_t count), do_write(fd, buffer, count))
MS_FACE(ssize_t, writev, (int fd, const iovec* parts, int count), do_writev(fd, parts, count))
MS_FACE(ssize_t, send, (int fd, const void* buffer, size_t count, int flags), do_send(fd, buffer, count, flags, nullptr, 0))
MS_FACE(ssize_t, sendto,
        (int fd, const void* buffer, size_t count, int flags, const sockaddr* address, socklen_t length),
        do_send(fd, buffer, count, flags, address, length))
MS_FACE(int, setsockopt, (int fd, int level, int name, const void* value, socklen_t length),
        do_setsockopt(fd, level, name, value, length))
MS_FACE(int, getsockopt, (int fd, int level, int name, void* value, socklen_t* length),
        do_getsockopt(fd, level, name, value, length))
MS_FACE(int, getsockname, (int fd, sockaddr* address, socklen_t* length), do_getsockname(fd, address, length))
MS_FACE(int, getpeername, (int fd, sockaddr* address, socklen_t* length), do_getpeername(fd, address, length))
MS_FACE(int, poll, (pollfd* fds, nfds_t count, int timeout_ms), do_poll(fds, count, timeout_ms))
MS_FACE(int, gethostname, (char* name, size_t length), do_gethostname(name, length))

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

MS_EXPORT unsigned int ms_virtual_address(void) { return rt.active ? __builtin_bswap32(rt.vip) : 0; }
MS_EXPORT unsigned int ms_generation(void) { return rt.active ? rt.generation : 0; }
MS_EXPORT unsigned long ms_datagrams_dropped(void) {
  return datagram_counts.strangers + datagram_counts.replays + datagram_counts.unwanted;
}
