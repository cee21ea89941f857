// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "src/transport/calls.h"
#include "src/transport/calls_udp.h"
#include "src/transport/drain.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"

namespace msocket::transport {

namespace {

// A call on a virtual socket whose direction is not slow. kRedo: it has become slow.
inline long guarded(int fd, long nr, long a2, long a3, long a4, uint8_t slow) {
  return ms_stub(fd, a2, a3, a4, 0, 0, nr, &kind[fd], slow);
}

long deliver(VSocket* vs, const iovec* parts, int count, bool peek) {
  size_t done = 0;
  const char* from = vs->in.data();
  size_t have = vs->in.size();
  for (int i = 0; i < count && have > done; ++i) {
    size_t n = have - done < parts[i].iov_len ? have - done : parts[i].iov_len;
    memcpy(parts[i].iov_base, from + done, n);
    done += n;
  }
  if (!peek) vs->in.drop(done);
  return static_cast<long>(done);
}

size_t total(const iovec* parts, int count) {
  size_t n = 0;
  for (int i = 0; i < count; ++i) n += parts[i].iov_len;
  return n;
}

// One step of reading a socket that is not in its steady state. kRedo: it is now, or may be after a wait.
long read_step(int fd, const iovec* parts, int count, int flags) {
  {
    Section section;
    rt.events = 0;
    if (!(kind_of(fd) & kReadSlow)) return kRedo;
    VSocket* vs = vsocket_of[fd];
    if (vs->state == ConnState::kConnecting) return -EAGAIN;
    if (vs->state == ConnState::kFailed || vs->state == ConnState::kListening) return -ENOTCONN;
    if (vs->read_shut) return 0;
    drain_mirror();
    drain_old(vs);
    if (total(parts, count) == 0) return 0;
    if (vs->in.size()) {
      long n = deliver(vs, parts, count, flags & MSG_PEEK);
      refresh(vs);
      return n;
    }
    if (vs->reset) {
      vs->reset = false;
      refresh(vs);
      return -ECONNRESET;
    }
    refresh(vs);
    if (!(kind_of(fd) & kReadSlow)) return kRedo;
  }
  long r = wait_or_again(fd, flags);
  return r == 0 ? kRedo : r;
}

long read_any(int fd, long nr, long a2, long a3, long flags, const iovec* parts, int count) {
  for (;;) {
    rt.events = 0;  // what was before is no reason to swallow a signal of the program's
    long r = guarded(fd, nr, a2, a3, flags, kReadSlow);
    if (r == -EINTR && rt.events) continue;  // it was ours, not the program's
    if (r != kRedo) return r;
    r = read_step(fd, parts, count, static_cast<int>(flags));
    if (r != kRedo) return r;
  }
}

// Into the buffer of a socket whose new connection is not there yet; 0: it is full.
long keep(VSocket* vs, const iovec* parts, int count) {
  size_t done = 0;
  for (int i = 0; i < count && vs->out.size() < kMaxOut; ++i) {
    size_t room = kMaxOut - vs->out.size();
    size_t n = parts[i].iov_len < room ? parts[i].iov_len : room;
    char* at = vs->out.reserve(n);
    if (!at) break;
    memcpy(at, parts[i].iov_base, n);
    vs->out.added(n);
    done += n;
  }
  return static_cast<long>(done);
}

// Takes what the buffer takes, or waits until the writing side is there. kRedo: look again.
long write_step(int fd, int flags, const iovec* parts, int count) {
  {
    Section section;
    rt.events = 0;
    if (!(kind_of(fd) & kWriteSlow)) return kRedo;
    VSocket* vs = vsocket_of[fd];
    if (vs->state == ConnState::kConnecting) return -EAGAIN;
    if (vs->state != ConnState::kAwaiting) return -ENOTCONN;
    if (vs->write_shut) {
      if (!(flags & MSG_NOSIGNAL)) raw::sys(SYS_tgkill, raw::getpid(), raw::gettid(), SIGPIPE);
      return -EPIPE;
    }
    if (long n = keep(vs, parts, count); n > 0 || total(parts, count) == 0) return n;
  }
  long r = wait_or_again(fd, flags);
  return r == 0 ? kRedo : r;
}

long write_once(int fd, long nr, long a2, long a3, long flags, const iovec* parts, int count) {
  for (;;) {
    rt.events = 0;
    long r = guarded(fd, nr, a2, a3, flags, kWriteSlow);
    if (r == -EINTR && rt.events) continue;
    if (r != kRedo) return r;
    r = write_step(fd, static_cast<int>(flags), parts, count);
    if (r != kRedo) return r;
  }
}

// A blocking write takes everything; if our signal cut it short the rest follows, over the new connection if need be.
long write_rest(int fd, const char* data, size_t length, size_t done, int flags) {
  while (done < length && !(flags & MSG_DONTWAIT) && !nonblocking(fd)) {
    iovec part{const_cast<char*>(data + done), length - done};
    long r = write_once(fd, SYS_sendto, reinterpret_cast<long>(part.iov_base), static_cast<long>(part.iov_len), flags, &part, 1);
    if (r <= 0) break;
    done += r;
  }
  return static_cast<long>(done);
}

}  // namespace

long do_read(int fd, void* buffer, size_t count) {
  if (!kind_of(fd)) return raw::read(fd, buffer, count);
  iovec part{buffer, count};
  if (is_datagram(fd)) return do_recv_udp(fd, &part, 1, 0, nullptr, nullptr);
  return read_any(fd, SYS_read, reinterpret_cast<long>(buffer), static_cast<long>(count), 0, &part, 1);
}

long do_readv(int fd, const iovec* parts, int count) {
  if (!kind_of(fd)) return raw::sys(SYS_readv, fd, parts, count);
  if (is_datagram(fd)) return do_recv_udp(fd, parts, count, 0, nullptr, nullptr);
  return read_any(fd, SYS_readv, reinterpret_cast<long>(parts), count, 0, parts, count);
}

long do_recv(int fd, void* buffer, size_t count, int flags, sockaddr* address, socklen_t* length) {
  if (!kind_of(fd)) return raw::sys(SYS_recvfrom, fd, buffer, count, flags, address, length);
  if (is_datagram(fd)) {
    iovec part{buffer, count};
    return do_recv_udp(fd, &part, 1, flags, address, length);
  }
  if (length) *length = 0;
  auto* at = static_cast<char*>(buffer);
  // MSG_WAITALL is ours to keep: the kernel's own would let the control signal cut it short.
  int one_flags = flags & ~MSG_WAITALL;
  size_t done = 0;
  for (;;) {
    iovec part{at + done, count - done};
    long r = read_any(fd, SYS_recvfrom, reinterpret_cast<long>(part.iov_base), static_cast<long>(part.iov_len),
                      one_flags, &part, 1);
    if (r <= 0) return done ? static_cast<long>(done) : r;
    done += r;
    if (done == count || !(flags & MSG_WAITALL) || (flags & (MSG_PEEK | MSG_DONTWAIT)) || nonblocking(fd))
      return static_cast<long>(done);
  }
}

long do_write(int fd, const void* buffer, size_t count) {
  if (!kind_of(fd)) return raw::write(fd, buffer, count);
  iovec part{const_cast<void*>(buffer), count};
  if (is_datagram(fd)) return do_send_udp(fd, &part, 1, 0, nullptr, 0);
  long r = write_once(fd, SYS_write, reinterpret_cast<long>(buffer), static_cast<long>(count), 0, &part, 1);
  if (r < 0 || static_cast<size_t>(r) == count) return r;
  return write_rest(fd, static_cast<const char*>(buffer), count, r, 0);
}

long do_send(int fd, const void* buffer, size_t count, int flags, const sockaddr* address, socklen_t length) {
  if (!kind_of(fd)) return raw::sys(SYS_sendto, fd, buffer, count, flags, address, length);
  iovec part{const_cast<void*>(buffer), count};
  if (is_datagram(fd)) return do_send_udp(fd, &part, 1, flags, address, length);
  long r = write_once(fd, SYS_sendto, reinterpret_cast<long>(buffer), static_cast<long>(count), flags, &part, 1);
  if (r < 0 || static_cast<size_t>(r) == count) return r;
  return write_rest(fd, static_cast<const char*>(buffer), count, r, flags);
}

long do_writev(int fd, const iovec* parts, int count) {
  if (!kind_of(fd)) return raw::sys(SYS_writev, fd, parts, count);
  if (is_datagram(fd)) return do_send_udp(fd, parts, count, 0, nullptr, 0);
  long r = write_once(fd, SYS_writev, reinterpret_cast<long>(parts), count, 0, parts, count);
  if (r < 0 || nonblocking(fd)) return r;
  size_t skip = r, done = r;
  for (int i = 0; i < count; ++i) {
    if (skip >= parts[i].iov_len) {
      skip -= parts[i].iov_len;
      continue;
    }
    size_t before = skip;
    long end = write_rest(fd, static_cast<const char*>(parts[i].iov_base), parts[i].iov_len, skip, 0);
    done += end - before;
    if (static_cast<size_t>(end) < parts[i].iov_len) break;
    skip = 0;
  }
  return static_cast<long>(done);
}

}  // namespace msocket::transport
