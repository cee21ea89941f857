// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/raw.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

namespace msocket::raw {

namespace {
void wait_for(int fd, short events) {
  struct pollfd p {fd, events, 0};
  sys(SYS_poll, &p, 1, -1);
}
}  // namespace

namespace {
template <class Put>
long put_all(int fd, const void* data, size_t length, Put put) {
  auto* p = static_cast<const char*>(data);
  while (length) {
    long n = put(fd, p, length);
    if (n == -EINTR) continue;
    if (n == -EAGAIN) {
      wait_for(fd, POLLOUT);
      continue;
    }
    if (n < 0) return n;
    p += n;
    length -= n;
  }
  return 0;
}
}  // namespace

long write_all(int fd, const void* data, size_t length) {
  return put_all(fd, data, length, [](int to, const char* p, size_t n) { return write(to, p, n); });
}

long send_all(int fd, const void* data, size_t length) {
  return put_all(fd, data, length,
                 [](int to, const char* p, size_t n) { return sys(SYS_sendto, to, p, n, MSG_NOSIGNAL, 0, 0); });
}

long read_all(int fd, void* data, size_t length) {
  auto* p = static_cast<char*>(data);
  while (length) {
    long n = read(fd, p, length);
    if (n == -EINTR) continue;
    if (n == -EAGAIN) {
      wait_for(fd, POLLIN);
      continue;
    }
    if (n < 0) return n;
    if (n == 0) return -EPIPE;
    p += n;
    length -= n;
  }
  return 0;
}

void complain(const char* text) {
  size_t n = 0;
  while (text[n]) ++n;
  write(2, "msocket: ", 9);
  write(2, text, n);
  write(2, "\n", 1);
}

}  // namespace msocket::raw
