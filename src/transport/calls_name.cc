// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#include "src/transport/calls.h"
#include "src/transport/calls_udp.h"
#include "src/transport/drain.h"
#include "src/transport/names.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"
#include "src/transport/vsocket.h"

namespace msocket::transport {

namespace {
long report(const VSocket* vs, const Endpoint& endpoint, sockaddr* address, socklen_t* length) {
  if (!address || !length) return -EFAULT;
  write_name(vs, endpoint, address, length);
  return 0;
}
}  // namespace

long do_fcntl(int fd, int command, long argument) {
  if (!kind_of(fd) || (command != F_DUPFD && command != F_DUPFD_CLOEXEC)) return raw::fcntl(fd, command, argument);
  Section section;
  return note_copy(fd, raw::fcntl(fd, command, argument));
}

long do_ioctl(int fd, unsigned long request, long argument) {
  if (!kind_of(fd) || request != FIONREAD) return raw::sys(SYS_ioctl, fd, request, argument);
  if (long r = ms_stub(fd, static_cast<long>(request), argument, 0, 0, 0, SYS_ioctl, &ms_kind[fd], kReadSlow); r != kRedo) return r;
  Section section;
  VSocket* vs = kind_of(fd) & kReadSlow ? vsocket_of[fd] : nullptr;
  if (!vs) return raw::sys(SYS_ioctl, fd, request, argument);
  int* there = reinterpret_cast<int*>(argument);
  if (vs->datagram == Datagram::kVirtual) return *there = static_cast<int>(next_size_udp(vs)), 0;
  drain_all();
  if (vs->shared && vs->old_fd >= 0 && vs->in.size() == 0) return raw::sys(SYS_ioctl, vs->old_fd, request, argument);
  // What has come over the new connection is not the next to be read: it does not count yet.
  if (vs->state > ConnState::kEstablished) return *there = static_cast<int>(vs->in.size()), 0;
  return raw::sys(SYS_ioctl, fd, request, argument);
}

long do_setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  if (kind_of(fd)) {
    if (level == SOL_SOCKET && name == SO_ZEROCOPY) return -EOPNOTSUPP;  // its completions would stay with the old socket
    Section section;
    if (VSocket* vs = vsocket_of[fd]; vs && vs->option_fd >= 0)
      return raw::setsockopt(vs->option_fd, level, name, value, length);
    return raw::setsockopt(fd, level, name, value, length);
  }
  return raw::setsockopt(fd, level, name, value, length);
}

long do_getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  if (kind_of(fd)) {
    Section section;
    VSocket* vs = vsocket_of[fd];
    if (vs && level == SOL_SOCKET && name == SO_ERROR && (vs->error || vs->reset) && length && *length >= sizeof(int)) {
      *static_cast<int*>(value) = vs->error ? vs->error : ECONNRESET;
      *length = sizeof(int);
      vs->error = 0;
      vs->reset = false;
      refresh(vs);
      return 0;
    }
    if (vs && vs->state == ConnState::kListening && level == SOL_SOCKET && name == SO_ACCEPTCONN && length &&
        *length >= sizeof(int)) {
      *static_cast<int*>(value) = 1;
      *length = sizeof(int);
      return 0;
    }
    if (vs && vs->option_fd >= 0)
      return raw::getsockopt(vs->option_fd, level, name, value, length);
  }
  long r = raw::getsockopt(fd, level, name, value, length);
  if (r == 0 && level == SOL_SOCKET && name == SO_ERROR && *length >= sizeof(int)) note_reset(fd, -*static_cast<int*>(value));
  return r;
}

long do_getsockname(int fd, sockaddr* address, socklen_t* length) {
  if (kind_of(fd)) {
    Section section;
    VSocket* vs = vsocket_of[fd];
    if (vs) return report(vs, vs->local, address, length);
  }
  return raw::sys(SYS_getsockname, fd, address, length);
}

long do_getpeername(int fd, sockaddr* address, socklen_t* length) {
  if (kind_of(fd)) {
    Section section;
    VSocket* vs = vsocket_of[fd];
    if (vs) {
      switch (vs->state) {
        case ConnState::kEstablished:
        case ConnState::kAwaiting:
        case ConnState::kDraining:
        case ConnState::kBuffered: return report(vs, vs->peer, address, length);
        default:
          return vs->datagram != Datagram::kNo && vs->peer.port ? report(vs, vs->peer, address, length) : -ENOTCONN;
      }
    }
  }
  return raw::sys(SYS_getpeername, fd, address, length);
}

long do_gethostname(char* name, size_t length) {
  utsname system;
  const char* from = rt.node;
  if (!rt.active || !from[0]) {
    if (long r = raw::sys(SYS_uname, &system); r < 0) return r;
    from = system.nodename;
  }
  size_t n = strlen(from) + 1;
  if (n > length) return -ENAMETOOLONG;
  memcpy(name, from, n);
  return 0;
}

}  // namespace msocket::transport
