// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <cstdio>
#include <cstring>

#include "tests/sim/program.h"

namespace msocket::sim {

namespace {
std::map<std::pair<uint32_t, uint16_t>, std::unique_ptr<Conn>> conns;
}

std::vector<std::unique_ptr<Process>> processes;
Traffic traffic;
bool stopping = false;
int active_moves = 0, active_connects = 0, listening = 0;

End& End::other() const { return conn->end[1 - side]; }

char pattern(const Conn& conn, int side, uint64_t position) {
  uint64_t z = position * 0x9e3779b97f4a7c15 + static_cast<uint64_t>(conn.id * 2 + side) * 0xbf58476d1ce4e5b9;
  return static_cast<char>((z ^ (z >> 29)) >> 13);
}

Conn* find_or_make(uint32_t vip, uint16_t port, Process* server) {
  auto& conn = conns[{vip, port}];
  if (!conn) {
    conn = std::make_unique<Conn>();
    conn->id = ++traffic.connections;
    conn->vip = vip;
    conn->port = port;
    conn->server = server;
    for (auto& p : processes) conn->lossy |= p->vip == vip && p->connecting_to == server && p->connecting_lossy;
    for (int side : {0, 1}) {
      conn->end[side].conn = conn.get();
      conn->end[side].side = side;
    }
  }
  return conn.get();
}

void may_be_lost(Process* process) {
  for (auto& [key, conn] : conns)
    if (conn->server == process || conn->vip == process->vip) conn->lossy = true;
  for (auto& p : processes) p->connecting_lossy |= p->connecting_to && (p.get() == process || p->connecting_to == process);
}

int waiting_for(const Process* process) {
  int n = 0;
  for (auto& [key, conn] : conns) n += conn->server == process && conn->end[0].process && !conn->end[1].process;
  return n;
}

void give_up_waiting(Process* process) {
  for (auto& [key, conn] : conns)
    if (conn->server == process && !conn->end[1].process) {
      conn->end[1].process = process;
      conn->end[1].closed = conn->rude = true;
      ++traffic.rude;
    }
}

bool read_is_due(const End& end) {
  const End& other = end.other();
  return !end.conn->lossy && (other.sent > end.got || other.shut || other.closed);
}

bool write_fits(const End& end, size_t length) {
  return !end.conn->lossy && end.sent - end.other().got + length <= end.send_room + kReceiveRoom - 2000;
}

std::string describe(const End& end) {
  char text[300];
  const End& other = end.other();
  snprintf(text, sizeof text, "connection %d, %s's end, number %d: read %llu of %llu, written %llu%s%s%s%s; the other end %s%s%s",
           end.conn->id, end.process ? end.process->name.c_str() : "nobody", end.fd, static_cast<unsigned long long>(end.got),
           static_cast<unsigned long long>(other.sent), static_cast<unsigned long long>(end.sent), end.shut ? ", shut" : "",
           end.closed ? ", closed" : "", end.conn->rude ? ", rude" : "", end.conn->lossy ? ", a mirror was killed" : "",
           other.process ? other.process->name.c_str() : "is not accepted", other.shut ? ", shut" : "",
           other.closed ? ", closed" : "");
  return text;
}

void print_connections() {
  for (auto& [key, conn] : conns) {
    for (End& end : conn->end)
      if (end.process && !end.closed) fprintf(stderr, "  %s\n", describe(end).c_str());
  }
}

void check_read(End& end, const char* data, size_t asked, long result, bool may_wait, bool peek) {
  End& other = end.other();
  bool excused = end.conn->rude || end.conn->lossy;
  if (result > 0) {
    if (static_cast<size_t>(result) > asked) sim.fail("a read of %zu gave %ld", asked, result);
    if (end.ended) sim.fail("bytes after the end: %s", describe(end).c_str());
    if (end.got + static_cast<uint64_t>(result) > other.sent + other.sending)
      sim.fail("more bytes than were written: %s", describe(end).c_str());
    for (long i = 0; i < result; ++i) {
      if (data[i] == pattern(*end.conn, other.side, end.got + i)) continue;
      long shift = 0;
      for (long k = 1; k < 20000 && !shift; ++k) {
        bool same = true;
        for (long j = 0; j < 8 && i + j < result; ++j) same &= data[i + j] == pattern(*end.conn, other.side, end.got + i + j + k);
        if (same) shift = k;
      }
      sim.fail("byte %llu is wrong (the bytes fit %ld later): %s", static_cast<unsigned long long>(end.got + i), shift,
               describe(end).c_str());
    }
    if (peek) return;
    end.got += static_cast<uint64_t>(result);
    traffic.bytes += static_cast<uint64_t>(result);
  } else if (result == 0 && asked == 0) {
    return;
  } else if (result == 0) {
    bool end_due = (other.shut || other.closed) && end.got == other.sent;
    if (!end_due && !end.broken) sim.fail("the end of the stream too early: %s", describe(end).c_str());
    end.ended = true;
  } else if (result == -EAGAIN) {
    if (may_wait) sim.fail("EAGAIN from a read that waits: %s", describe(end).c_str());
    end.told = false;
  } else if (result == -ECONNRESET || result == -EPIPE) {
    if (!excused) sim.fail("error %ld from a read: %s", -result, describe(end).c_str());
    sim.trace("is told error %ld by a read: %s", -result, describe(end).c_str());
    end.broken = true;
    if (!peek) end.ended = true;
    ++traffic.resets;
  } else {
    sim.fail("error %ld from a read: %s", -result, describe(end).c_str());
  }
}

void check_write(End& end, size_t asked, long result, bool may_wait) {
  bool excused = end.conn->rude || end.conn->lossy;
  if (result > static_cast<long>(asked)) sim.fail("a write of %zu took %ld", asked, result);
  if (result >= 0) {
    if (end.shut && asked) sim.fail("a write after shutdown: %s", describe(end).c_str());
    if (may_wait && static_cast<size_t>(result) != asked && !excused)
      sim.fail("a write that waits took %ld of %zu: %s", result, asked, describe(end).c_str());
    end.sent += static_cast<uint64_t>(result);
  } else if (result == -EAGAIN) {
    if (may_wait) sim.fail("EAGAIN from a write that waits: %s", describe(end).c_str());
    if (end.edge) sim.trace("no room in connection %d", end.conn->id);
    end.told_room = false;
  } else if (result == -EPIPE && end.shut) {
    return;
  } else if ((result == -EPIPE || result == -ECONNRESET) && excused) {
    sim.trace("is told error %ld by a write: %s", -result, describe(end).c_str());
    end.broken = true;
    ++traffic.resets;
  } else {
    sim.fail("error %ld from a write: %s", -result, describe(end).c_str());
  }
  end.sending = 0;
}

void check_names(End& end) {
  const Library* lib = end.process->lib;
  sockaddr_in address{};
  socklen_t length = sizeof address;
  if (lib->getsockname(end.fd, reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      ntohl(address.sin_addr.s_addr) != end.process->vip)
    sim.fail("getsockname says something else: %s", describe(end).c_str());
  length = sizeof address;
  if (lib->getpeername(end.fd, reinterpret_cast<sockaddr*>(&address), &length) != 0)
    sim.fail("getpeername does not know: %s", describe(end).c_str());
  uint32_t peer = end.side == 0 ? end.conn->server->vip : end.conn->vip;
  if (ntohl(address.sin_addr.s_addr) != peer || (end.side == 1 && ntohs(address.sin_port) != end.conn->port))
    sim.fail("getpeername says something else: %s", describe(end).c_str());
  int value = 0;
  length = sizeof value;
  lib->getsockopt(end.fd, IPPROTO_TCP, TCP_NODELAY, &value, &length);
  // Where the other end has closed for good there is no TCP socket any more after a move.
  if ((value != 0) != end.no_delay && !end.broken && !end.conn->rude && !end.conn->lossy && !end.other().closed)
    sim.fail("TCP_NODELAY has changed: %s", describe(end).c_str());
  if (((lib->fcntl(end.fd, F_GETFL, 0) & O_NONBLOCK) != 0) != end.nonblock)
    sim.fail("O_NONBLOCK has changed: %s", describe(end).c_str());
}

}  // namespace msocket::sim
