// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The virtual sockets of this process and the per-descriptor table. All of it is plain memory that moves with the
// process; all of it is touched only while the runtime's lock is held (runtime.h), except for reads of `kind`.
#pragma once
#include <cstdint>

#include "src/transport/conn_state.h"
#include "src/transport/in_buffer.h"
#include "src/util/ids.h"

/// What is special about a number; the first thing that every call looks at, also in stub.S.
extern "C" uint8_t ms_kind[65536];

namespace msocket::transport {

inline constexpr int kMaxFd = sizeof ms_kind;
inline constexpr int kMaxVSockets = 16384;
/// While a socket awaits its new connection, it takes this much of what the program writes, as the kernel's own send buffer
/// would: a program that has just been able to read may count on a small write (MPICH's closing handshake does). So little
/// that a fresh connection always takes it, whatever the peer's program does.
inline constexpr unsigned kMaxOut = 16 * 1024;

/// Bits of ms_kind[fd]; 0: a plain descriptor, whose calls go straight to the kernel.
inline constexpr uint8_t kVirtual = 1;
inline constexpr uint8_t kReadSlow = 2;   ///< reading needs more than the system call
inline constexpr uint8_t kWriteSlow = 4;  ///< writing does
inline constexpr uint8_t kEpoll = 8;      ///< an epoll set (watches.h); calls on it are the kernel's
inline constexpr uint8_t kOwn = 16;      ///< the library's: a program that closes everything does not close it
inline constexpr uint8_t kCloseOnExec = 64;  ///< while the process moves: what fcntl(F_GETFD) said on the old node
inline constexpr uint8_t kSlow = kReadSlow | kWriteSlow;
inline constexpr uint8_t kDatagramKind = 32;  ///< every call is slow (calls_udp.cc), but poll is the kernel's own
static_assert((kVirtual ^ kReadSlow ^ kWriteSlow ^ kEpoll ^ kOwn ^ kDatagramKind ^ kCloseOnExec) == 127);  // no two are the same

/// Socket options and status flags as they were when the process was frozen, to be put on the next real socket.
struct SavedOptions {
  uint16_t count = 0;
  uint16_t file_flags = 0;  ///< O_NONBLOCK
  struct One {
    uint8_t index;
    uint8_t length;
    uint8_t pad[2];
    uint8_t value[16];
  } options[24];
};

/// UDP. `state` stays kFresh.
enum class Datagram : uint8_t {
  kNo = 0,     ///< a stream
  kUndecided,  ///< not used yet: its first use says whether it is for the virtual network
  kVirtual,    ///< it has a virtual port, and under the number is a UDP socket of the node that the daemon knows
};

struct VSocket {
  ConnState state;
  bool connector;     ///< this end opened the connection
  bool write_shut;    ///< the program has shut down its writing side
  bool read_shut;
  bool orphan;        ///< the program has closed it, but the move is not through: it lives until the redirection is done
  bool from_mirror;   ///< the old connection's bytes come through this process's own mirror
  bool old_ended;     ///< the old connection has delivered its last byte
  bool reset;         ///< it ended with a reset of which the program has not heard yet
  bool broken;        ///< there is a gap in the peer's stream, or the program was told of one: nothing that comes later is read
  bool family6;       ///< the program sees it as AF_INET6: its names are IPv4-mapped
  bool quiet;         ///< bound IPv6-only: in an IPv4 virtual network nobody can reach it, but the program may wait there
  uint32_t unaccepted;  ///< waits for accept() in these tables; the lowest came first. 0: it does not
  Datagram datagram;
  bool talked;        ///< datagram: it has sent or received in the virtual network
  int fd;             ///< a number that carries it: the program's first, or a high one of the library's own
  int old_fd;         ///< the old connection while draining directly, else -1
  int option_fd;      ///< listener: a TCP socket that carries the options for accepted connections, else -1
  int quiet_fd;       ///< a quiet listener's other end, which says nothing; else -1
  int error;          ///< SO_ERROR to be reported; of a connection: of a call that could not tell it, for the next one
  int backlog;
  Endpoint local, peer;
  ConnId conn;
  Generation peer_gen;
  int numbers;        ///< how many of the program's numbers point here
  uint32_t arrivals;  ///< counts what edge-triggered epoll wants to hear of: data, an end, room to write
  bool held;          ///< shared with other processes and about to be redirected in all of them: calls wait
  bool shared;        ///< other processes have it too (fork): what comes over the old connection is not taken into memory
  InBuffer in;
  InBuffer out;       ///< kAwaiting: written by the program, not yet by us; at most kMaxOut
  struct Watch* watches;  ///< its entries in epoll sets (watches.h)
  SavedOptions* saved;
  VSocket* next_free;
};

extern VSocket* vsocket_of[kMaxFd];
extern VSocket vsockets[kMaxVSockets];  // bss: untouched slots cost nothing
extern int used_vsockets;               ///< slots from here on were never used
extern int used_fds;                    ///< numbers from here on were never virtual
extern uint32_t any_slow;               ///< 1 while any number has a kSlow bit: poll's short cut

inline uint8_t kind_of(int fd) { return static_cast<unsigned>(fd) < static_cast<unsigned>(kMaxFd) ? ms_kind[fd] : 0; }

/// A zeroed slot in state kFree, or nullptr when all are in use.
VSocket* allocate_vsocket();
/// Back to kFree; every number that still points to it becomes plain.
void free_vsocket(VSocket* vs);
void attach(int fd, VSocket* vs);
void detach(int fd);
/// Sets the slow bits of all of vs's numbers according to its state and buffer; makes kBuffered and kEstablished out of
/// what has drained.
void refresh(VSocket* vs);
void set_state(VSocket* vs, ConnState to);
/// The end of a connection that has this local name: both ends may be in this process.
VSocket* find_conn(const ConnId& conn, const Endpoint& local);
/// A connection's name for the mirror. Of a connection of this process to itself each end has its own.
ConnId mirror_name(const VSocket* vs);
VSocket* find_mirrored(const ConnId& name);
/// Something came that a waiting call may be waiting for.
void note_arrival(VSocket* vs);

template <class F>
void for_each_number(const VSocket* vs, F f) {
  if (vs->numbers == 1) {
    f(vs->fd);
    return;
  }
  for (int fd = 0; fd < used_fds; ++fd)
    if (vsocket_of[fd] == vs) f(fd);
}
template <class F>
void for_each_vsocket(F f) {
  for (int i = 0; i < used_vsockets; ++i)
    if (vsockets[i].state != ConnState::kFree) f(&vsockets[i]);
}

}  // namespace msocket::transport
