// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The names to which programs that were built with _FORTIFY_SOURCE are bound: the same calls, and the size of the buffer.
#include "include/msocket/msocket.h"

extern "C" {
[[noreturn]] void __chk_fail(void);

#define EXPORT __attribute__((visibility("default")))

EXPORT ssize_t __read_chk(int fd, void* buffer, size_t count, size_t room) {
  if (count > room) __chk_fail();
  return ms_read(fd, buffer, count);
}
EXPORT ssize_t __recv_chk(int fd, void* buffer, size_t count, size_t room, int flags) {
  if (count > room) __chk_fail();
  return ms_recv(fd, buffer, count, flags);
}
EXPORT ssize_t __recvfrom_chk(int fd, void* buffer, size_t count, size_t room, int flags, sockaddr* address, socklen_t* length) {
  if (count > room) __chk_fail();
  return ms_recvfrom(fd, buffer, count, flags, address, length);
}
EXPORT int __poll_chk(pollfd* fds, nfds_t count, int timeout_ms, size_t room) {
  if (room / sizeof(pollfd) < count) __chk_fail();
  return ms_poll(fds, count, timeout_ms);
}
EXPORT int __ppoll_chk(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t room) {
  if (room / sizeof(pollfd) < count) __chk_fail();
  return ms_ppoll(fds, count, timeout, mask);
}
}
