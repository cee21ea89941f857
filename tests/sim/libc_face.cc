// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What src/mirror calls in libc, bound here by the linker's --wrap (tests/Makefile.am).
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstdarg>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "src/wire/mirror_frame.h"
#include "tests/sim/daemon.h"

namespace {
template <class... T>
long call(long nr, T... values) {
  long arguments[6] = {(long)(values)...};
  long r = msocket::sim::system_call(nr, arguments, false);
  if (r >= 0) return r;
  errno = static_cast<int>(-r);
  return -1;
}
}  // namespace

using msocket::sim::sim;

extern "C" {

int __wrap_poll(pollfd* fds, nfds_t count, int timeout) { return static_cast<int>(call(SYS_poll, fds, count, timeout)); }
int __wrap_close(int fd) { return static_cast<int>(call(SYS_close, fd)); }
int __wrap_shutdown(int fd, int how) { return static_cast<int>(call(SYS_shutdown, fd, how)); }
ssize_t __wrap_recv(int fd, void* p, size_t n, int flags) { return call(SYS_recvfrom, fd, p, n, flags, 0, 0); }
ssize_t __wrap_send(int fd, const void* p, size_t n, int flags) { return call(SYS_sendto, fd, p, n, flags, 0, 0); }
int __wrap_getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  return static_cast<int>(call(SYS_getsockopt, fd, level, name, value, length));
}
int __wrap_setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  return static_cast<int>(call(SYS_setsockopt, fd, level, name, value, length));
}

int __wrap_ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void* argument = va_arg(list, void*);
  va_end(list);
  return static_cast<int>(call(SYS_ioctl, fd, request, argument));
}

ssize_t __wrap_recvmsg(int fd, msghdr* message, int flags) {
  ssize_t n = call(SYS_recvmsg, fd, message, flags);
  msocket::wire::MailboxRecord record;
  if (n != sizeof record) return n;
  memcpy(&record, message->msg_iov[0].iov_base, sizeof record);
  if (record.type == msocket::wire::Mailbox::kUpstream) ++msocket::sim::counts.chained;
  if (record.type == msocket::wire::Mailbox::kConn && sim.planted("overtaken")) {  // its own sockets before the mirror before
    record.flags &= ~msocket::wire::kAfterUpstream;
    memcpy(message->msg_iov[0].iov_base, &record, sizeof record);
  }
  if (sim.planted("early-half-close")) {
    static std::map<msocket::sim::Proc*, std::vector<int>> sockets;
    cmsghdr* header = CMSG_FIRSTHDR(message);
    auto& mine = sockets[sim.current->proc];
    if (record.type == msocket::wire::Mailbox::kConn && header) mine.push_back(*reinterpret_cast<int*>(CMSG_DATA(header)));
    if (record.type == msocket::wire::Mailbox::kGo)
      for (int fd : std::exchange(mine, {})) __wrap_shutdown(fd, SHUT_WR);
  }
  return n;
}

}  // extern "C"
