// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Virtual datagram sockets (paper 5.6): what lies under their numbers, and what is on the wire. calls_udp.cc is the program's
// side of it. Lock held everywhere; async-signal-safe. See doc/datagrams.md.
#pragma once
#include <sys/uio.h>

#include "src/transport/place_cache.h"
#include "src/transport/vsocket.h"
#include "src/wire/control.h"
#include "src/wire/datagram.h"

namespace msocket::transport {

/// What has become of datagrams, since the process was started; moves with it.
struct DatagramCounts {
  uint64_t sent = 0, received = 0;
  uint64_t strangers = 0;  ///< no header of ours, a tag that does not hold, or for somebody else
  uint64_t replays = 0;    ///< taken before
  uint64_t unwanted = 0;   ///< valid, but the socket is connected to another
  uint64_t nowhere = 0;    ///< not sent: nobody has that address and port, or the daemon did not say in time
};
extern DatagramCounts datagram_counts;

/// From the daemon's kStart record: the key, and the node's own address. In a new process again after a move.
void begin_datagrams(const wire::ControlRecord& start);
/// Over an exec (exec.h): what has been taken already, and the rest of what is not in a socket.
bool save_replays(bool (*put)(const void*, size_t));
bool load_replays(bool (*get)(void*, size_t));
void datagrams_go_over_exec();
/// A fresh datagram socket; it is undecided.
void make_datagram(VSocket* vs);
/// Gives it the virtual port `port` (0: any) and a real socket of this node that the daemon knows. 0 or -errno.
long become_virtual(VSocket* vs, uint32_t ip, uint16_t port);
/// It is a plain one from here on, bound as the program has asked for so far. 0 or -errno.
long become_plain(VSocket* vs);
/// The program closes the last number of it.
void datagram_closed(const VSocket* vs);

/// In the new process, the socket being in place: binds it and tells the daemon.
void restore_datagram(VSocket* vs);
/// What the daemon has said of places holds no longer, or may have been missed: at a move, and when one is called off.
void forget_places();
/// kUdpPlace.
void on_place(const wire::ControlRecord& record);
/// Where `to` is; asks the daemon when that is not known or was long ago.
PlaceEntry* place_of(const Endpoint& to, int64_t now);

/// Sends one datagram; -EAGAIN: no room now. What the network refuses is lost, and that is no error.
long transmit(VSocket* vs, const iovec* parts, int count, size_t size, const Endpoint& to, const Endpoint& real);

struct Received {
  Endpoint from;
  const char* data;  ///< valid until the lock is let go
  size_t size;
};
/// The next datagram that is for the program, if one is there (-EAGAIN). Drops and counts what is not. With `peek` it stays.
long next_datagram(VSocket* vs, bool peek, Received* got);

}  // namespace msocket::transport
