// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/drain.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "src/transport/raw.h"
#include "src/transport/redirect.h"
#include "src/transport/runtime.h"
#include "src/transport/watches.h"
#include "src/transport/world.h"

namespace msocket::transport {

namespace {
constexpr size_t kChunk = 64 * 1024;

// It was perhaps the last: then the daemon is to hear that, also when a call has found out and no signal came with it.
void maybe_settled() {
  if (rt.settling) rt.pending = 1;
}

// A reset of the old connection, or the loss of what the mirror owed: there may be a gap.
void end_of_old(VSocket* vs, bool reset) {
  take_out_old(vs);
  close_own(vs->old_fd);
  vs->old_fd = -1;
  vs->from_mirror = false;  // this one; other sockets' bytes may still come from there
  vs->old_ended = true;
  maybe_settled();
  if (reset) {
    vs->reset = vs->broken = true;
    break_off(vs);
  }
  note_arrival(vs);
  refresh(vs);
}

// The mirror's stream has ended. Whatever had not ended by then is lost with it.
void mirror_gone() {
  close_own(rt.mirror_fd);
  rt.mirror_fd = -1;
  rt.changed = true;  // a fork() may wait for nothing else
  rt.frame_have = rt.frame_left = 0;
  for_each_vsocket([](VSocket* vs) {
    if (vs->from_mirror && !vs->old_ended) end_of_old(vs, true);
    vs->from_mirror = false;
  });
  maybe_settled();
}

}  // namespace

int dead_socket() {
  int pair[2];
  if (raw::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, pair) != 0) return -1;
  raw::close(pair[1]);
  return pair[0];
}

void reset_when_closed(int fd) {
  linger at_once{1, 0};
  raw::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

bool was_reset(const VSocket* vs) {
  if (vs->broken) return true;
  // Of a shared one another process may have told its end to the peer already: closed by both it looks like one that was reset.
  pollfd p{vs->fd, 0, 0};
  if (vs->shared) return raw::poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
  tcp_info info{};
  socklen_t length = sizeof info;
  if (vs->write_shut || raw::getsockopt(vs->fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return false;
  return info.tcpi_state == TCP_CLOSE;  // an end of the peer's leaves it open for us
}

void break_off(VSocket* vs) {
  if (vs->state == ConnState::kAwaiting) return;
  stop_world();
  rt.pending = 1;  // which lets it go
  reset_when_closed(vs->fd);
  if (vs->shared) {  // closing ours alone says nothing
    sockaddr nobody{};
    nobody.sa_family = AF_UNSPEC;
    raw::sys(SYS_connect, vs->fd, &nobody, sizeof nobody);
  }
  if (int fd = dead_socket(); fd >= 0) put_under_numbers(vs, fd);
  else raw::shutdown(vs->fd, SHUT_RDWR);  // no descriptors left: it is as good as dead
}

void drain_old(VSocket* vs, size_t most) {
  while (vs->old_fd >= 0) {
    size_t chunk = vs->shared && most < kChunk ? most : kChunk;
    if (vs->shared && vs->in.size()) break;
    if (chunk == 0) {  // whether it has ended; another process may have read the last of it
      char byte;
      long n = raw::sys(SYS_recvfrom, vs->old_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, 0, 0);
      if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR)) end_of_old(vs, n < 0);
      break;
    }
    char* room = vs->in.reserve(chunk);
    if (!room) {
      rt.starved = true;
      return;
    }
    long n = raw::sys(SYS_recvfrom, vs->old_fd, room, chunk, MSG_DONTWAIT, 0, 0);  // a shared one may be blocking
    if (n > 0) {
      if (!vs->broken) vs->in.added(n);  // behind a gap: nothing
      note_arrival(vs);
    } else if (n == -EINTR) continue;
    else if (n == -EAGAIN) break;
    else end_of_old(vs, n < 0);
  }
  refresh(vs);
}

void drain_mirror() {
  rt.starved = false;
  while (rt.mirror_fd >= 0) {
    if (rt.frame_have < sizeof rt.frame) {
      long n = raw::read(rt.mirror_fd, reinterpret_cast<char*>(&rt.frame) + rt.frame_have, sizeof rt.frame - rt.frame_have);
      if (n == -EINTR) continue;
      if (n == -EAGAIN) return;
      if (n <= 0) return mirror_gone();
      rt.frame_have += n;
      if (rt.frame_have < sizeof rt.frame) continue;
      rt.frame_left = rt.frame.len;
      if (rt.frame.magic != wire::kMirrorMagic || rt.frame.len > wire::kMirrorMaxData) return mirror_gone();
    }
    // nullptr: the program has closed it, and the bytes go nowhere; or it gets nothing from there: not the mirror's to say
    VSocket* vs = find_mirrored(rt.frame.conn);
    if (rt.frame_left > 0) {
      char waste[4096];
      char* room = vs ? vs->in.reserve(rt.frame_left) : waste;
      if (!room) {
        rt.starved = true;
        return;
      }
      size_t most = vs ? rt.frame_left : (rt.frame_left < sizeof waste ? rt.frame_left : sizeof waste);
      long n = raw::read(rt.mirror_fd, room, most);
      if (n == -EINTR) continue;
      if (n == -EAGAIN) return;
      if (n <= 0) return mirror_gone();
      if (vs) {
        if (!vs->broken) vs->in.added(n);
        note_arrival(vs);
      }
      rt.frame_left -= n;
      if (rt.frame_left > 0) continue;
    }
    rt.frame_have = 0;
    if (vs && (rt.frame.type == wire::Mirror::kEof || rt.frame.type == wire::Mirror::kReset))
      end_of_old(vs, rt.frame.type == wire::Mirror::kReset);
    else if (vs)
      refresh(vs);
  }
}

void drain_all() {
  drain_mirror();
  for_each_vsocket([](VSocket* vs) {
    if (vs->old_fd >= 0) drain_old(vs, vs->shared ? 0 : kAll);
  });
}

void tell_mirror_half_close(const ConnId& conn) {
  if (rt.mirror_fd < 0) return;
  wire::MirrorFrame frame{.type = wire::Mirror::kHalfClose, .conn = conn};
  raw::send_all(rt.mirror_fd, &frame, sizeof frame);
}

namespace {
bool none_is_under_way(bool shared_may_drain) {
  if (rt.mirror_fd >= 0) return false;
  bool all = true;
  for_each_vsocket([&](VSocket* vs) {
    bool left_alone = shared_may_drain && vs->shared && vs->in.size() == 0;
    all &= vs->state != ConnState::kAwaiting && (vs->state != ConnState::kDraining || left_alone) && !vs->held;
  });
  return all;
}
}  // namespace

bool settled() { return none_is_under_way(false); }
bool stands_still() { return none_is_under_way(true); }

bool may_freeze() {
  bool connecting = false;
  for_each_vsocket([&](VSocket* vs) { connecting |= vs->state == ConnState::kConnecting; });
  return !connecting;
}

}  // namespace msocket::transport
