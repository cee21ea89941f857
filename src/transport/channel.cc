// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "src/transport/raw.h"

namespace msocket::transport {

namespace {
union Ancillary {
  cmsghdr header;
  char space[CMSG_SPACE(wire::kMaxControlFds * sizeof(int))];
};
}  // namespace

long send_record(int fd, const void* record, size_t length, const int* fds, int count) {
  iovec part{const_cast<void*>(record), length};
  Ancillary ancillary;
  msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count > 0) {
    memset(&ancillary, 0, sizeof ancillary);
    message.msg_control = &ancillary;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    ancillary.header.cmsg_level = SOL_SOCKET;
    ancillary.header.cmsg_type = SCM_RIGHTS;
    ancillary.header.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&ancillary.header), fds, count * sizeof(int));
  }
  for (;;) {
    long n = raw::sys(SYS_sendmsg, fd, &message, MSG_NOSIGNAL);
    if (n >= 0) return 0;
    if (n == -EAGAIN) {
      pollfd p{fd, POLLOUT, 0};
      raw::poll(&p, 1, -1);
    } else if (n != -EINTR) {
      return n;
    }
  }
}

long receive_record(int fd, void* record, size_t length, int* fds, int* count, bool dont_wait) {
  iovec part{record, length};
  Ancillary ancillary;
  msghdr message;
  long n;
  for (;;) {
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = &ancillary;
    // Not the whole union: padding makes that room for one descriptor more, and the caller has none for it.
    message.msg_controllen = CMSG_LEN(wire::kMaxControlFds * sizeof(int));
    n = raw::sys(SYS_recvmsg, fd, &message, MSG_CMSG_CLOEXEC | (dont_wait ? MSG_DONTWAIT : 0));
    if (n == -EINTR) continue;
    if (n == -EAGAIN && !dont_wait) {
      pollfd p{fd, POLLIN, 0};
      raw::poll(&p, 1, -1);
      continue;
    }
    break;
  }
  *count = 0;
  if (n < 0) return n;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    int got = static_cast<int>((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(c), got * sizeof(int));
    *count = got;
  }
  if (n == static_cast<long>(length) && !(message.msg_flags & MSG_CTRUNC)) return 0;
  for (int i = 0; i < *count; ++i) raw::close(fds[i]);
  *count = 0;
  return n == 0 ? -EPIPE : -EBADMSG;
}

}  // namespace msocket::transport
