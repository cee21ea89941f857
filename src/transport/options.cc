// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/options.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "src/transport/raw.h"

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

namespace msocket::transport {

namespace {
struct Option {
  int level, name;
  unsigned char lock_bit;  ///< set only if the program has fixed this buffer's size (SO_BUF_LOCK): else it tunes itself
  bool halved;             ///< the kernel reports twice what was set
};
// SO_REUSEADDR is not among them: it says nothing about a connection's data, and the sockets that a daemon has accepted must
// keep theirs, or its port is blocked for a minute after it ends.
constexpr Option kOptions[] = {
    {IPPROTO_TCP, TCP_NODELAY, 0, false},     {SOL_SOCKET, SO_KEEPALIVE, 0, false},
    {SOL_SOCKET, SO_SNDBUF, 1, true},
    {SOL_SOCKET, SO_RCVBUF, 2, true},         {SOL_SOCKET, SO_LINGER, 0, false},
    {SOL_SOCKET, SO_OOBINLINE, 0, false},     {SOL_SOCKET, SO_RCVTIMEO, 0, false},
    {SOL_SOCKET, SO_SNDTIMEO, 0, false},      {IPPROTO_IP, IP_TOS, 0, false},  // sets a priority, too
    {SOL_SOCKET, SO_RCVLOWAT, 0, false},      {SOL_SOCKET, SO_PRIORITY, 0, false},
    {IPPROTO_TCP, TCP_CORK, 0, false},        {IPPROTO_TCP, TCP_KEEPIDLE, 0, false},
    {IPPROTO_TCP, TCP_KEEPINTVL, 0, false},   {IPPROTO_TCP, TCP_KEEPCNT, 0, false},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 0, false}, {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0, false},
    {SOL_SOCKET, SO_BROADCAST, 0, false},
};
constexpr int kCount = sizeof kOptions / sizeof kOptions[0];
static_assert(kCount <= 24);

struct Value {
  unsigned char bytes[16];
  unsigned length;
};

bool get(int fd, const Option& option, Value* value) {
  value->length = sizeof value->bytes;
  memset(value->bytes, 0, sizeof value->bytes);
  return raw::getsockopt(fd, option.level, option.name, value->bytes, &value->length) == 0;
}

bool fixed_by_program(int fd, const Option& option) {
  if (!option.lock_bit) return true;
  int locks = 0;
  unsigned length = sizeof locks;
  if (raw::getsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &locks, &length) != 0) return false;
  return locks & option.lock_bit;
}

void set(int fd, const Option& option, const void* bytes, unsigned length) {
  Value now;
  if (get(fd, option, &now) && now.length == length && memcmp(now.bytes, bytes, length) == 0) return;
  int half;
  if (option.halved) {
    memcpy(&half, bytes, sizeof half);
    half /= 2;
    bytes = &half;
  }
  raw::setsockopt(fd, option.level, option.name, bytes, length);
}

void set_nonblock(int fd, bool nonblock) {
  long flags = raw::fcntl(fd, F_GETFL);
  long wanted = nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (wanted != flags) raw::fcntl(fd, F_SETFL, wanted);
}
}  // namespace

void copy_options(int from, int to) {
  SavedOptions saved;
  save_options(from, &saved);
  apply_options(saved, to);
}

void save_options(int fd, SavedOptions* saved) {
  saved->count = 0;
  saved->file_flags = raw::fcntl(fd, F_GETFL) & O_NONBLOCK;
  for (int i = 0; i < kCount; ++i) {
    Value value;
    if (!fixed_by_program(fd, kOptions[i]) || !get(fd, kOptions[i], &value)) continue;
    auto& one = saved->options[saved->count++];
    one.index = i;
    one.length = value.length;
    memcpy(one.value, value.bytes, sizeof one.value);
  }
}

size_t room_when_fresh(int fd, size_t most) {
  constexpr Option kSendBuffer{SOL_SOCKET, SO_SNDBUF, 1, true};
  Value value;
  int bytes;
  if (!fixed_by_program(fd, kSendBuffer) || !get(fd, kSendBuffer, &value)) return most;
  memcpy(&bytes, value.bytes, sizeof bytes);
  // The kernel has doubled what was asked for, to have room for its own bookkeeping; that may be as much as the data.
  size_t room = bytes > 4 ? static_cast<size_t>(bytes) / 4 : 1;
  return room < most ? room : most;
}

void apply_options(const SavedOptions& saved, int fd) {
  for (int i = 0; i < saved.count; ++i)
    set(fd, kOptions[saved.options[i].index], saved.options[i].value, saved.options[i].length);
  set_nonblock(fd, saved.file_flags & O_NONBLOCK);
}

}  // namespace msocket::transport
