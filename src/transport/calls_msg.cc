// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Messages with more than one part, and what moves bytes between descriptors without the program's seeing them.
#include <errno.h>
#include <string.h>
#include <time.h>

#include "src/transport/calls.h"
#include "src/transport/calls_udp.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/transport/stub.h"
#include "src/transport/vsocket.h"

namespace msocket::transport {

namespace {
// What sendfile copies at a time through our own hands while a socket's new connection is not there.
constexpr size_t kCopyChunk = 8 * 1024;
}  // namespace

long do_recvmsg(int fd, msghdr* message, int flags) {
  if (!kind_of(fd) || !message) return raw::sys(SYS_recvmsg, fd, message, flags);
  if (is_datagram(fd)) return do_recvmsg_udp(fd, message, flags);
  auto at = reinterpret_cast<long>(message);
  bool all = (flags & MSG_WAITALL) && !(flags & MSG_PEEK);
  for (;;) {
    long r = ms_stub(fd, at, flags, 0, 0, 0, SYS_recvmsg, &ms_kind[fd], kReadSlow);
    if (r == kRedo) {
      r = read_step(fd, message->msg_iov, message->msg_iovlen, flags);
      if (r == kRedo) continue;
      if (r >= 0) {  // no name and no ancillary data came with it, as with any stream
        message->msg_namelen = 0;
        message->msg_controllen = 0;
        message->msg_flags = 0;
      }
    } else {
      note_reset(fd, r);
    }
    // The control signal, or the end of the old connection, has cut it short.
    return r > 0 && all ? read_parts(fd, message->msg_iov, message->msg_iovlen, static_cast<size_t>(r), flags) : r;
  }
}

long do_sendmsg(int fd, const msghdr* message, int flags) {
  if (!kind_of(fd) || !message) return raw::sys(SYS_sendmsg, fd, message, flags);
  if (is_datagram(fd)) return do_sendmsg_udp(fd, message, flags);
  long r = guarded_write(fd, SYS_sendmsg, reinterpret_cast<long>(message), flags, 0, 0, 0, message->msg_iov,
                         message->msg_iovlen, flags);
  return r < 0 ? r : write_parts(fd, message->msg_iov, message->msg_iovlen, static_cast<size_t>(r), flags);
}

long do_sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  if (!kind_of(fd)) return raw::sys(SYS_sendmmsg, fd, messages, count, flags);
  for (unsigned i = 0; i < count; ++i) {
    long r = do_sendmsg(fd, &messages[i].msg_hdr, flags);
    if (r < 0) return i ? static_cast<long>(i) : r;
    messages[i].msg_len = static_cast<unsigned>(r);
  }
  return static_cast<long>(count);
}

long do_recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  if (!kind_of(fd)) return raw::sys(SYS_recvmmsg, fd, messages, count, flags, timeout);
  // The time-out is looked at after each message, as the kernel does.
  timespec start, now;
  raw::sys(SYS_clock_gettime, CLOCK_MONOTONIC, &start);
  int rest_flags = flags & ~MSG_WAITFORONE;
  for (unsigned i = 0; i < count; ++i) {
    long r = do_recvmsg(fd, &messages[i].msg_hdr, rest_flags);
    if (r < 0) return i ? static_cast<long>(i) : r;
    messages[i].msg_len = static_cast<unsigned>(r);
    if (flags & MSG_WAITFORONE) rest_flags |= MSG_DONTWAIT;
    if (!timeout) continue;
    raw::sys(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    long long spent = (now.tv_sec - start.tv_sec) * 1000000000LL + (now.tv_nsec - start.tv_nsec);
    if (spent >= timeout->tv_sec * 1000000000LL + timeout->tv_nsec) return static_cast<long>(i + 1);
  }
  return static_cast<long>(count);
}

long do_sendfile(int out, int in, off_t* offset, size_t count) {
  if (is_datagram(out)) return -EINVAL;  // callers go back to read and send
  if (!kind_of(out)) return raw::sys(SYS_sendfile, out, in, offset, count);
  long r = ms_stub(out, in, reinterpret_cast<long>(offset), static_cast<long>(count), 0, 0, SYS_sendfile, &ms_kind[out],
                   kWriteSlow);
  note_reset(out, r);
  if (r != kRedo) return r;
  // A little by hand; a short count is what callers of sendfile are used to.
  char buffer[kCopyChunk];
  size_t most = count < sizeof buffer ? count : sizeof buffer;
  off_t at = offset ? *offset : raw::sys(SYS_lseek, in, 0, SEEK_CUR);
  if (at < 0) return -EINVAL;
  long got = raw::sys(SYS_pread64, in, buffer, most, at);
  if (got <= 0) return got;
  long sent = do_send(out, buffer, static_cast<size_t>(got), 0, nullptr, 0);
  if (sent <= 0) return sent;
  if (offset) *offset += sent;
  else raw::sys(SYS_lseek, in, at + sent, SEEK_SET);
  return sent;
}

long do_splice(int in, off_t* in_offset, int out, off_t* out_offset, size_t length, unsigned flags) {
  auto a2 = reinterpret_cast<long>(in_offset), a4 = reinterpret_cast<long>(out_offset);
  if (is_datagram(in) || is_datagram(out)) return -EINVAL;
  const uint8_t* look = nullptr;
  uint8_t slow = 0;
  if (kind_of(in)) look = &ms_kind[in], slow = kReadSlow;
  if (kind_of(out)) {
    if (look) return -EINVAL;  // from socket to socket: the kernel does not do that either
    look = &ms_kind[out], slow = kWriteSlow;
  }
  if (!look) return raw::sys(SYS_splice, in, in_offset, out, out_offset, length, flags);
  long r = ms_stub(in, a2, out, a4, static_cast<long>(length), flags, SYS_splice, look, slow);
  return r == kRedo ? -EINVAL : r;  // EINVAL: callers go back to read and write
}

}  // namespace msocket::transport
