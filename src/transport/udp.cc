// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "src/transport/channel.h"
#include "src/transport/raw.h"
#include "src/transport/redirect.h"
#include "src/transport/replay.h"
#include "src/transport/exec.h"
#include "src/transport/runtime.h"
#include "src/transport/watches.h"
#include "src/transport/siphash.h"

namespace msocket::transport {

DatagramCounts datagram_counts;

namespace {

// A place is used while the daemon is asked again: its notice that the other end has moved may have been lost.
constexpr int64_t kRefreshMs = 4000;
constexpr int64_t kNobodyMs = 200;
constexpr int64_t kAskAgainMs = 3000;

PlaceCache places;
ReplayTable replays;
uint8_t key[wire::kDatagramKeyLength];
uint32_t node_ip;  // host byte order
uint64_t counter;
/// Room for the one datagram that is being sent or looked at; so it costs no program any stack.
alignas(8) char bounce[64 * 1024];

sockaddr_in internet(uint32_t ip, uint16_t port) {
  sockaddr_in in;
  memset(&in, 0, sizeof in);
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(ip);
  in.sin_port = htons(port);
  return in;
}

bool port_free(uint16_t port) {
  bool found = true;
  for_each_vsocket([&](VSocket* vs) { found &= vs->datagram == Datagram::kNo || vs->local.port != port; });
  return found;
}

uint16_t ephemeral_port() {
  static uint16_t next;
  for (int tries = 0; tries < 65536; ++tries) {
    if (next < 32768) next = 32768;
    uint16_t port = next++;
    if (port_free(port)) return port;
  }
  return 0;
}

// A port of the node for what is under the numbers, and the daemon told of it. It keeps a descriptor of the same socket: what
// still comes there when this process has moved is passed on from it.
long bind_real(VSocket* vs) {
  sockaddr_in in = internet(node_ip, 0);
  long r = raw::sys(SYS_bind, vs->fd, &in, sizeof in);
  if (r == -EADDRNOTAVAIL) {  // the others reach us by an address that is not this host's own
    in = internet(INADDR_ANY, 0);
    r = raw::sys(SYS_bind, vs->fd, &in, sizeof in);
  }
  if (r < 0) return r;
  socklen_t length = sizeof in;
  raw::sys(SYS_getsockname, vs->fd, &in, &length);
  wire::ControlRecord record;
  record.type = wire::Control::kUdpBind;
  record.local = {rt.vip, vs->local.port};
  record.peer = {node_ip, ntohs(in.sin_port)};
  record.local_gen = rt.generation;
  return send_control(rt.control_fd, record, &vs->fd, 1);
}

void ask(const Endpoint& to) {
  wire::ControlRecord record;
  record.type = wire::Control::kUdpLookup;
  record.peer = to;
  send_control(rt.control_fd, record);
}

// Is it for this socket, and new? Counts what is not. `size` bytes lie in `bounce`.
bool acceptable(const VSocket* vs, size_t size) {
  auto* header = reinterpret_cast<const wire::DatagramHeader*>(bounce);
  uint8_t tag[sizeof header->tag];
  bool ours = size >= sizeof *header && header->magic == wire::kDatagramMagic && header->version == wire::kDatagramVersion;
  if (ours) {
    siphash128(key, bounce, wire::kDatagramTagged, bounce + sizeof *header, size - sizeof *header, tag);
    uint8_t difference = 0;
    for (size_t i = 0; i < sizeof tag; ++i) difference |= tag[i] ^ header->tag[i];
    ours = difference == 0 && header->to == Endpoint{rt.vip, vs->local.port};
  }
  if (!ours) {
    ++datagram_counts.strangers;
    return false;
  }
  if (!replays.fresh(vs->local.port, header->from, header->counter)) {
    ++datagram_counts.replays;
    return false;
  }
  if (vs->peer.port && vs->peer != header->from) {
    ++datagram_counts.unwanted;
    return false;
  }
  return true;
}

}  // namespace

bool save_replays(bool (*put)(const void*, size_t)) { return replays.save(put); }
bool load_replays(bool (*get)(void*, size_t)) { return replays.load(get); }
void datagrams_go_over_exec() {
  goes_over_exec(key, sizeof key);
  goes_over_exec(&node_ip, sizeof node_ip);
  goes_over_exec(&counter, sizeof counter);
  goes_over_exec(&datagram_counts, sizeof datagram_counts);
}

void begin_datagrams(const wire::ControlRecord& start) {
  memcpy(key, start.text + wire::kUdpKeyAt, sizeof key);
  node_ip = start.peer.ip;
  if (!counter) {
    // Above what a former process of this address may have used: nobody sends a datagram in every nanosecond.
    timespec t;
    raw::sys(SYS_clock_gettime, CLOCK_REALTIME, &t);
    counter = static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
  }
}

void make_datagram(VSocket* vs) {
  vs->datagram = Datagram::kUndecided;
  set_state(vs, ConnState::kFresh);
}

long become_virtual(VSocket* vs, uint32_t ip, uint16_t port) {
  if (port && !port_free(port)) return -EADDRINUSE;
  if (!port) port = ephemeral_port();
  if (!port) return -EADDRINUSE;
  vs->local = {ip, port};
  long r = bind_real(vs);
  if (r < 0) vs->local = {};
  else vs->datagram = Datagram::kVirtual;
  return r < 0 ? r : 0;
}

long become_plain(VSocket* vs) {
  if (vs->datagram == Datagram::kVirtual) {  // bound to any address: that is any address of the host, then
    long fresh = raw::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fresh < 0) return fresh;
    sockaddr_in in = internet(INADDR_ANY, vs->local.port);
    long r = raw::sys(SYS_bind, fresh, &in, sizeof in);
    if (r < 0) {
      raw::close(static_cast<int>(fresh));
      return r;
    }
    datagram_closed(vs);
    put_under_numbers(vs, static_cast<int>(fresh));
    sync_watches(vs);
  }
  for_each_number(vs, [&](int fd) { drop_watches(vs, fd, true); });
  free_vsocket(vs);
  return 0;
}

void datagram_closed(const VSocket* vs) {
  if (vs->datagram != Datagram::kVirtual) return;
  wire::ControlRecord record;
  record.type = wire::Control::kUdpUnbind;
  record.local = {rt.vip, vs->local.port};
  send_control(rt.control_fd, record);
}

void restore_datagram(VSocket* vs) {
  if (vs->datagram != Datagram::kVirtual) return;
  if (bind_real(vs) < 0) raw::complain("a UDP socket could not be bound on the new node; what is sent to it is lost");
  if (vs->read_shut) raw::shutdown(vs->fd, SHUT_RD);
  if (vs->write_shut) raw::shutdown(vs->fd, SHUT_WR);
}

void forget_places() { places.clear(); }

void on_place(const wire::ControlRecord& record) {
  PlaceEntry* entry = places.find(record.peer);
  timespec t;
  raw::sys(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
  if (entry) {
    entry->again = false;
    entry->since = t.tv_sec * 1000LL + t.tv_nsec / 1000000;
    entry->real = record.local;
    entry->error = record.error;
    entry->state = record.error ? PlaceEntry::kNobody : PlaceEntry::kKnown;
  }
  // As the ICMP message "port unreachable" would say: a connected socket hears of it at its next call.
  if (record.error != ECONNREFUSED) return;
  for_each_vsocket([&](VSocket* vs) {
    if (vs->datagram == Datagram::kVirtual && vs->peer == record.peer) vs->error = ECONNREFUSED;
  });
}

PlaceEntry* place_of(const Endpoint& to, int64_t now) {
  PlaceEntry* entry = places.find(to);
  if (entry && entry->state == PlaceEntry::kKnown) {
    if (now - entry->since >= kRefreshMs && (!entry->again || now - entry->since >= 2 * kRefreshMs)) {
      if (entry->again) entry->since = now - kRefreshMs;  // no answer: once more, but not with every datagram
      entry->again = true;
      ask(to);
    }
    return entry;
  }
  bool wait = entry && now - entry->since < (entry->state == PlaceEntry::kNobody ? kNobodyMs : kAskAgainMs);
  if (wait) return entry;
  entry = places.make(to);
  entry->state = PlaceEntry::kAsked;
  entry->error = 0;
  entry->since = now;
  ask(to);
  return entry;
}

long transmit(VSocket* vs, const iovec* parts, int count, size_t size, const Endpoint& to, const Endpoint& real) {
  wire::DatagramHeader header;
  header.from = {rt.vip, vs->local.port};
  header.to = to;
  header.from_gen = rt.generation;
  header.counter = ++counter;
  char* at = bounce + sizeof header;
  for (int i = 0; i < count; ++i) {
    memcpy(at, parts[i].iov_base, parts[i].iov_len);
    at += parts[i].iov_len;
  }
  siphash128(key, &header, wire::kDatagramTagged, bounce + sizeof header, size, header.tag);
  memcpy(bounce, &header, sizeof header);
  sockaddr_in in = internet(real.ip, real.port);
  long r = raw::sys(SYS_sendto, vs->fd, bounce, sizeof header + size, MSG_DONTWAIT | MSG_NOSIGNAL, &in, sizeof in);
  if (r == -EAGAIN) return r;
  ++datagram_counts.sent;
  return static_cast<long>(size);
}

long next_datagram(VSocket* vs, bool peek, Received* got) {
  // So many strangers at a time: the daemon's records must not wait for the end of a flood.
  for (int tries = 0; tries < 256; ++tries) {
    long n = raw::sys(SYS_recvfrom, vs->fd, bounce, sizeof bounce, MSG_DONTWAIT | (peek ? MSG_PEEK : 0), 0, 0);
    if (n == -EINTR) continue;
    if (n < 0) return n;
    auto* header = reinterpret_cast<const wire::DatagramHeader*>(bounce);
    bool good = acceptable(vs, static_cast<size_t>(n));
    if (peek && !good) raw::sys(SYS_recvfrom, vs->fd, bounce, 0, MSG_DONTWAIT, 0, 0);
    if (!good || (!peek && !replays.take(vs->local.port, header->from, header->counter))) continue;
    if (!peek) ++datagram_counts.received;
    // There it is, whatever the daemon has said a moment ago.
    if (PlaceEntry* entry = places.find(header->from); entry && entry->state == PlaceEntry::kNobody) *entry = {};
    *got = {header->from, bounce + sizeof *header, static_cast<size_t>(n) - sizeof *header};
    return 0;
  }
  return -EINTR;
}

}  // namespace msocket::transport
