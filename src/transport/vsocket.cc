// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/vsocket.h"

#include <string.h>

#include "src/transport/runtime.h"
#include "src/transport/watches.h"
#include "src/wire/mirror_frame.h"

uint8_t ms_kind[65536];

namespace msocket::transport {


VSocket* vsocket_of[kMaxFd];
// Not by code that runs at the start: that may come after take_over() (exec.h), and would make 3 MiB of it resident.
constinit VSocket vsockets[kMaxVSockets] = {};
int used_vsockets;
int used_fds;
uint32_t any_slow;

namespace {
VSocket* free_list;
int slow_numbers;

void set_kind(int fd, uint8_t bits) {
  auto slow = [](uint8_t b) { return (b & kSlow) && !(b & kDatagramKind); };
  slow_numbers += slow(bits) - slow(ms_kind[fd]);
  if (ms_kind[fd] != bits) rt.changed = true;
  ms_kind[fd] = bits;
  any_slow = slow_numbers > 0;
}

bool has_unaccepted(const VSocket* listener) {
  bool found = false;
  if (listener->quiet) return found;  // another listener may have the same port
  for_each_vsocket([&](VSocket* vs) { found |= vs->unaccepted && vs->local.port == listener->local.port; });
  return found;
}

bool is_connection(ConnState state) { return state >= ConnState::kEstablished; }

uint8_t bits_for(const VSocket* vs) {
  if (vs->datagram != Datagram::kNo) return kVirtual | kSlow | kDatagramKind;
  if (vs->held || ((vs->error || vs->reset) && is_connection(vs->state))) return kVirtual | kSlow;
  switch (vs->state) {
    case ConnState::kFresh:
    case ConnState::kEstablished: return kVirtual;
    case ConnState::kListening: return has_unaccepted(vs) ? kVirtual | kReadSlow : kVirtual;
    case ConnState::kDraining:
    case ConnState::kBuffered: return kVirtual | kReadSlow;
    default: return kVirtual | kSlow;
  }
}
}  // namespace

VSocket* allocate_vsocket() {
  VSocket* vs = free_list;
  if (vs) free_list = vs->next_free;
  else if (used_vsockets < kMaxVSockets) vs = &vsockets[used_vsockets++];
  else return nullptr;
  memset(static_cast<void*>(vs), 0, sizeof *vs);
  vs->fd = vs->old_fd = vs->option_fd = vs->quiet_fd = -1;
  return vs;
}

void free_vsocket(VSocket* vs) {
  for_each_number(vs, [](int fd) { detach(fd); });
  vs->in.clear();
  vs->out.clear();
  set_state(vs, ConnState::kFree);
  vs->conn = {};
  vs->next_free = free_list;
  free_list = vs;
}

void attach(int fd, VSocket* vs) {
  if (fd < 0 || fd >= kMaxFd) return;  // the caller refuses such numbers to the program
  vsocket_of[fd] = vs;
  ++vs->numbers;
  if (vs->fd < 0) vs->fd = fd;
  if (fd >= used_fds) used_fds = fd + 1;
  set_kind(fd, bits_for(vs));
}

void detach(int fd) {
  VSocket* vs = vsocket_of[fd];
  if (vs) drop_watches(vs, fd, false);
  vsocket_of[fd] = nullptr;
  set_kind(fd, 0);
  if (!vs) return;
  --vs->numbers;
  if (vs->fd == fd) {
    vs->fd = -1;
    if (vs->numbers == 0) return;
    for (int other = 0; other < used_fds && vs->fd < 0; ++other)
      if (vsocket_of[other] == vs) vs->fd = other;
  }
}

void set_state(VSocket* vs, ConnState to) { change_state(vs->state, to, vs->fd, vs->conn); }

void refresh(VSocket* vs) {
  if (vs->read_shut) vs->in.clear();  // nobody will ask
  if (vs->state == ConnState::kDraining && vs->old_ended && vs->old_fd < 0)
    set_state(vs, vs->in.size() || vs->reset ? ConnState::kBuffered : ConnState::kEstablished);
  else if (vs->state == ConnState::kBuffered && vs->in.size() == 0 && !vs->reset)
    set_state(vs, ConnState::kEstablished);
  for_each_number(vs, [&](int fd) { set_kind(fd, bits_for(vs)); });
  if (vs->watches) sync_watches(vs);
}

VSocket* find_conn(const ConnId& conn, const Endpoint& local) {
  VSocket* found = nullptr;
  for_each_vsocket([&](VSocket* vs) {
    if (vs->conn == conn && (vs->peer.ip != rt.vip || vs->local.port == local.port)) found = vs;
  });
  return found;
}

ConnId mirror_name(const VSocket* vs) {
  return wire::mirror_name(vs->conn, rt.vip, vs->peer.ip, vs->connector);
}

VSocket* find_mirrored(const ConnId& name) {
  VSocket* found = nullptr;
  for_each_vsocket([&](VSocket* vs) {
    if (vs->from_mirror && mirror_name(vs) == name) found = vs;
  });
  return found;
}

void note_arrival(VSocket* vs) {
  ++vs->arrivals;
  rt.changed = true;
}

}  // namespace msocket::transport
