// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What the programs do, at random, and what must be true of it. A connection's bytes are a function of the connection, the
// direction and the position, so one byte tells whether it is the right one.
#pragma once
#include "tests/sim/process.h"

namespace msocket::sim {

struct Conn;

/// One program's end of a connection.
struct End {
  Process* process = nullptr;
  int fd = -1;
  uint64_t sent = 0;     ///< bytes that its calls have taken
  uint64_t sending = 0;  ///< and that a call under way may have taken
  uint64_t got = 0;
  bool shut = false, closed = false;
  bool ended = false;   ///< it has seen the end of the other's stream
  bool broken = false;  ///< it has seen an error
  bool nonblock = false, no_delay = false;
  size_t send_room = kSendRoom;
  bool edge = false;      ///< in the program's epoll set edge-triggered
  bool told = false, told_room = false;  ///< epoll has said since the last EAGAIN that it can be read, written
  Conn* conn = nullptr;
  int side = 0;  ///< 0: the one that has connected
  End& other() const;
};

struct Conn {
  int id = 0;
  End end[2];
  Process* server = nullptr;
  uint32_t vip = 0;   ///< of the client, as getpeername says at the server
  uint16_t port = 0;
  bool rude = false;  ///< somebody has closed it before its end
  bool lossy = false; ///< a mirror of it has been killed
};

char pattern(const Conn& conn, int side, uint64_t position);

// checks.cc: the oracle
Conn* find_or_make(uint32_t vip, uint16_t port, Process* server);
extern std::vector<std::unique_ptr<Process>> processes;
/// A mirror of the process was killed: what it had at the time may end early.
void may_be_lost(Process* process);
/// Connections that wait to be accepted by this process.
int waiting_for(const Process* process);
/// The listener goes: nobody will accept them any more.
void give_up_waiting(Process* process);
/// Would a blocking read return although nobody does anything any more?
bool read_is_due(const End& end);
/// Would a blocking write of this length?
bool write_fits(const End& end, size_t length);
void check_read(End& end, const char* data, size_t asked, long result, bool may_wait, bool peek);
void check_write(End& end, size_t asked, long result, bool may_wait);
/// poll and a call that does not wait agree about this end, and nothing in between can change it.
void check_poll(End& end);
/// The same for an epoll set; of an edge-triggered entry: what can be read was told after the last EAGAIN.
void check_epoll(End& end, int epoll);
/// epoll_ctl on this end, level- or edge-triggered.
void watch(End& end, int epoll, int operation);
/// Waits for some ends, for ever only if one of them must become ready.
void wait_by_poll(Process* process, const std::vector<End*>& ends, int listener);
void wait_by_epoll(Process* process, const std::vector<End*>& ends, int epoll);
/// Names, options and flags are what the program has made them.
void check_names(End& end);
std::string describe(const End& end);
void print_connections();

struct Traffic {
  uint64_t bytes = 0;
  int connections = 0, resets = 0, rude = 0, waiting_calls = 0;
};
extern Traffic traffic;
extern bool stopping;     ///< no new connections and moves: finish
extern int active_moves, active_connects, listening;

/// The program: runs in a fiber of its own until `stopping`, then closes everything and ends.
void run_program(Process* process, const std::vector<Process*>& all);

}  // namespace msocket::sim
