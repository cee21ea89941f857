// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Bytes. A call on a number that is not slow is the system call itself, guarded by a look (stub.S); everything else is here.
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "src/transport/calls.h"
#include "src/transport/calls_udp.h"
#include "src/transport/drain.h"
#include "src/transport/options.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"
#include "src/transport/vsocket.h"

namespace msocket::transport {

namespace {

size_t total(const iovec* parts, size_t count) {
  size_t n = 0;
  for (size_t i = 0; i < count; ++i) n += parts[i].iov_len;
  return n;
}

long deliver(VSocket* vs, const iovec* parts, size_t count, bool peek) {
  size_t done = 0;
  const char* from = vs->in.data();
  size_t have = vs->in.size();
  for (size_t i = 0; i < count && have > done; ++i) {
    size_t n = have - done < parts[i].iov_len ? have - done : parts[i].iov_len;
    memcpy(parts[i].iov_base, from + done, n);
    done += n;
  }
  if (!peek) vs->in.drop(done);
  return static_cast<long>(done);
}

// Into the buffer of a socket whose new connection is not there yet; 0: it is full.
long keep(VSocket* vs, const iovec* parts, size_t count) {
  size_t done = 0, most = room_when_fresh(vs->fd, kMaxOut);
  for (size_t i = 0; i < count && vs->out.size() < most; ++i) {
    size_t room = most - vs->out.size();
    size_t n = parts[i].iov_len < room ? parts[i].iov_len : room;
    if (n == 0) continue;  // an empty buffer has no address to give
    char* at = vs->out.reserve(n);
    if (!at) break;
    memcpy(at, parts[i].iov_base, n);
    vs->out.added(n);
    done += n;
  }
  return static_cast<long>(done);
}

long broken_pipe(int flags) {
  if (!(flags & MSG_NOSIGNAL)) raw::sys(SYS_tgkill, raw::getpid(), raw::gettid(), SIGPIPE);
  return -EPIPE;
}

// What a call that had done a part of its work could not tell.
long take_error(VSocket* vs) {
  long error = vs->error;
  vs->error = 0;
  refresh(vs);
  return -error;
}

// For a read: what has come before the error goes first. The connection is broken, so nothing waits here.
long tell_error(VSocket* vs, int fd, const iovec* parts, size_t count, int flags) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  long n = raw::sys(SYS_recvmsg, fd, &message, flags | MSG_DONTWAIT);
  return n > 0 ? n : take_error(vs);
}

// The kernel tells an error once. If it came behind bytes that were counted, the next call is to tell it.
void keep_error(int fd, long r) {
  if (r >= 0 || r == -EAGAIN || r == -EINTR || r == -EPIPE) return;  // EPIPE comes again by itself
  Section section;
  VSocket* vs = kind_of(fd) ? vsocket_of[fd] : nullptr;
  if (!vs || vs->state < ConnState::kEstablished) return;
  vs->error = static_cast<int>(-r);
  note_arrival(vs);
  refresh(vs);
}

}  // namespace

void note_reset(int fd, long r) {
  if (r != -ECONNRESET && r != -ETIMEDOUT) return;
  Section section;
  VSocket* vs = kind_of(fd) ? vsocket_of[fd] : nullptr;
  if (vs && vs->state >= ConnState::kEstablished) vs->broken = true;
}

long read_step(int fd, const iovec* parts, size_t count, int flags) {
  uint32_t epoch;
  int old_fd = -1;
  {
    Section section;
    epoch = section.epoch();
    if (!(kind_of(fd) & kReadSlow)) return kRedo;
    VSocket* vs = vsocket_of[fd];
    if (!vs->held) {
      if (vs->state == ConnState::kConnecting) return -EAGAIN;
      if (vs->state == ConnState::kFailed || vs->state == ConnState::kListening) return -ENOTCONN;
      if (flags & MSG_OOB) return -EINVAL;
      if (vs->read_shut) return 0;
      size_t wanted = total(parts, count);
      drain_mirror();
      if (vs->shared && vs->old_fd >= 0 && (flags & MSG_PEEK) && vs->in.size() == 0) {
        // Only a look: what is taken into memory no other process would see.
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(parts);
        message.msg_iovlen = count;
        long n = raw::sys(SYS_recvmsg, vs->old_fd, &message, MSG_PEEK | MSG_DONTWAIT);
        if (n > 0) return n;
        wanted = 0;
      }
      drain_old(vs, wanted);
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
      if (vs->error && vs->state == ConnState::kEstablished) return tell_error(vs, fd, parts, count, flags);
      if (!(kind_of(fd) & kReadSlow)) return kRedo;
      if (vs->broken) return vs->error ? take_error(vs) : 0;  // a write that had done a part of its work could not tell it
      if (vs->shared) old_fd = vs->old_fd;
    }
  }
  if ((flags & MSG_DONTWAIT) || nonblocking(fd)) return -EAGAIN;
  if (old_fd < 0) {
    long r = wait_for_change(epoch, -1);
    return r == 0 ? kRedo : r;
  }
  // Shared with other processes: the old connection's bytes stay in the kernel until one of them asks.
  pollfd p{old_fd, POLLIN, 0};
  uint32_t signals = rt.signals;
  long r = ms_stub_equal(reinterpret_cast<long>(&p), 1, -1, 0, 0, 0, SYS_poll, &rt.epoch, epoch);
  return r == -EINTR && rt.signals == signals ? -EINTR : kRedo;
}

long write_step(int fd, const iovec* parts, size_t count, int flags) {
  uint32_t epoch;
  {
    Section section;
    epoch = section.epoch();
    if (!(kind_of(fd) & kWriteSlow)) return kRedo;
    VSocket* vs = vsocket_of[fd];
    if (!vs->held) {
      if (vs->state == ConnState::kConnecting) return -EAGAIN;
      if (vs->error && vs->state >= ConnState::kEstablished) return take_error(vs);
      if (vs->reset && vs->state >= ConnState::kEstablished) {
        vs->reset = false;
        refresh(vs);
        return -ECONNRESET;
      }
      if (vs->state != ConnState::kAwaiting) return -ENOTCONN;
      if (vs->write_shut || vs->broken) return broken_pipe(flags);
      if (long n = keep(vs, parts, count); n > 0 || total(parts, count) == 0) return n;
    }
  }
  long r = wait_or_again(fd, flags, epoch);
  return r == 0 ? kRedo : r;
}

long guarded_read(int fd, long nr, long a2, long a3, long a4, long a5, long a6, const iovec* parts, size_t count, int flags) {
  for (;;) {
    long r = ms_stub(fd, a2, a3, a4, a5, a6, nr, &ms_kind[fd], kReadSlow);
    if (r == kRedo) r = read_step(fd, parts, count, flags);
    else note_reset(fd, r);
    if (r != kRedo) return r;
  }
}

long guarded_write(int fd, long nr, long a2, long a3, long a4, long a5, long a6, const iovec* parts, size_t count, int flags) {
  for (;;) {
    long r = ms_stub(fd, a2, a3, a4, a5, a6, nr, &ms_kind[fd], kWriteSlow);
    if (r == kRedo) r = write_step(fd, parts, count, flags);
    else note_reset(fd, r);
    if (r != kRedo) return r;
  }
}

namespace {

template <class T>
long as_long(T* pointer) {
  return reinterpret_cast<long>(pointer);
}

long recv_once(int fd, void* buffer, size_t length, int flags) {
  iovec part{buffer, length};
  return guarded_read(fd, SYS_recvfrom, as_long(buffer), static_cast<long>(length), flags, 0, 0, &part, 1, flags);
}

long send_once(int fd, const void* buffer, size_t length, int flags) {
  iovec part{const_cast<void*>(buffer), length};
  return guarded_write(fd, SYS_sendto, as_long(buffer), static_cast<long>(length), flags, 0, 0, &part, 1, flags);
}

bool waits(int fd, int flags) { return !(flags & MSG_DONTWAIT) && !nonblocking(fd); }

// A blocking write takes everything; if our signal cut it short the rest follows, over the new connection if need be. No
// SIGPIPE: what is written already counts, the next call is the one that fails.
long write_rest(int fd, const void* buffer, size_t length, size_t done, int flags) {
  while (done < length && waits(fd, flags)) {
    long r = send_once(fd, static_cast<const char*>(buffer) + done, length - done, flags | MSG_NOSIGNAL);
    keep_error(fd, r);
    if (r <= 0) break;
    done += r;
  }
  return static_cast<long>(done);
}

// MSG_WAITALL is ours to keep: the kernel's own would let the control signal cut it short.
long read_rest(int fd, void* buffer, size_t length, size_t done, int flags) {
  while (done < length && waits(fd, flags)) {
    long r = recv_once(fd, static_cast<char*>(buffer) + done, length - done, flags & ~MSG_WAITALL);
    keep_error(fd, r);
    if (r <= 0) break;
    done += r;
  }
  return static_cast<long>(done);
}

}  // namespace

long finish_recv(int fd, void* buffer, size_t length, int flags, long r) {
  if (r == kRedo && is_datagram(fd)) {
    iovec part{buffer, length};
    return do_recv_udp(fd, &part, 1, flags, nullptr, nullptr);
  }
  if (r == kRedo) r = recv_once(fd, buffer, length, flags & ~MSG_WAITALL);
  else note_reset(fd, r);
  if (r <= 0 || !kind_of(fd) || !(flags & MSG_WAITALL) || (flags & MSG_PEEK)) return r;
  return read_rest(fd, buffer, length, static_cast<size_t>(r), flags);
}

long finish_send(int fd, const void* buffer, size_t length, int flags, long r) {
  if (r == kRedo && is_datagram(fd)) {
    iovec part{const_cast<void*>(buffer), length};
    return do_send_udp(fd, &part, 1, flags, nullptr, 0);
  }
  if (r == kRedo) r = send_once(fd, buffer, length, flags);
  else note_reset(fd, r);
  if (r < 0 || !kind_of(fd) || static_cast<size_t>(r) == length) return r;
  return write_rest(fd, buffer, length, static_cast<size_t>(r), flags);
}

long do_recv(int fd, void* buffer, size_t length, int flags, sockaddr* address, socklen_t* address_length) {
  if (!kind_of(fd)) return raw::sys(SYS_recvfrom, fd, buffer, length, flags, address, address_length);
  if (is_datagram(fd)) {
    iovec part{buffer, length};
    return do_recv_udp(fd, &part, 1, flags, address, address_length);
  }
  if (address_length) *address_length = 0;
  return finish_recv(fd, buffer, length, flags, kRedo);
}

long do_send(int fd, const void* buffer, size_t length, int flags, const sockaddr* address, socklen_t address_length) {
  if (!kind_of(fd)) return raw::sys(SYS_sendto, fd, buffer, length, flags, address, address_length);
  if (is_datagram(fd)) {
    iovec part{const_cast<void*>(buffer), length};
    return do_send_udp(fd, &part, 1, flags, address, address_length);
  }
  return finish_send(fd, buffer, length, flags, kRedo);
}

long do_readv(int fd, const iovec* parts, int count) {
  if (!kind_of(fd) || count < 0) return raw::sys(SYS_readv, fd, parts, count);
  if (is_datagram(fd)) return do_recv_udp(fd, parts, count, 0, nullptr, nullptr);
  return guarded_read(fd, SYS_readv, as_long(parts), count, 0, 0, 0, parts, static_cast<size_t>(count), 0);
}

// What is left of a vector after `done` bytes of it, part by part.
long write_parts(int fd, const iovec* parts, size_t count, size_t done, int flags) {
  size_t skip = done;
  for (size_t i = 0; i < count && waits(fd, flags); ++i) {
    if (skip >= parts[i].iov_len) {
      skip -= parts[i].iov_len;
      continue;
    }
    long end = write_rest(fd, parts[i].iov_base, parts[i].iov_len, skip, flags);
    done += static_cast<size_t>(end) - skip;
    if (static_cast<size_t>(end) < parts[i].iov_len) break;
    skip = 0;
  }
  return static_cast<long>(done);
}

long read_parts(int fd, const iovec* parts, size_t count, size_t done, int flags) {
  size_t skip = done;
  for (size_t i = 0; i < count; ++i) {
    if (skip >= parts[i].iov_len) {
      skip -= parts[i].iov_len;
      continue;
    }
    long end = read_rest(fd, parts[i].iov_base, parts[i].iov_len, skip, flags);
    done += static_cast<size_t>(end) - skip;
    if (static_cast<size_t>(end) < parts[i].iov_len) break;
    skip = 0;
  }
  return static_cast<long>(done);
}

long do_writev(int fd, const iovec* parts, int count) {
  if (!kind_of(fd) || count < 0) return raw::sys(SYS_writev, fd, parts, count);
  if (is_datagram(fd)) return do_send_udp(fd, parts, count, 0, nullptr, 0);
  long r = guarded_write(fd, SYS_writev, as_long(parts), count, 0, 0, 0, parts, static_cast<size_t>(count), 0);
  return r < 0 ? r : write_parts(fd, parts, static_cast<size_t>(count), static_cast<size_t>(r), 0);
}

}  // namespace msocket::transport
