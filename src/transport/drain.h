// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// After a move, what is still on its way over the old connections is taken into each socket's own buffer, in the handler
// if the program computes: so a socket that the program does not read holds up nobody (paper 5.5). Lock held.
#pragma once
#include "src/transport/vsocket.h"

namespace msocket::transport {

inline constexpr size_t kAll = ~size_t{0};
/// Takes what is there from vs->old_fd; at its end closes it. If other processes share the socket: only as much as the
/// program wants now, since the bytes are theirs as well.
void drain_old(VSocket* vs, size_t most = kAll);
/// Takes what is there from this process's own mirror and spreads it over the sockets.
void drain_mirror();
/// Both, for every socket.
void drain_all();
/// To the mirror, by mirror_name(): this peer has the new connection; end the old stream towards it.
void tell_mirror_half_close(const ConnId& conn);
/// A connection that is broken: what is under its numbers is reset towards the peer, and read as ended. Not while it awaits
/// its new socket: that one is reset when it comes.
void break_off(VSocket* vs);
/// Closed for the last time, by whomever, this socket is reset: never an end that looks like the program's.
void reset_when_closed(int fd);
/// The kernel has had a reset on the connection under the number, whether the program has been told or not.
bool was_reset(const VSocket* vs);
/// A socket whose other end is closed: reads give the end of the stream, writes EPIPE, poll says so.
int dead_socket();
/// True when no connection is on its way from an old place to a new one.
bool settled();
/// The same, but a connection that is shared may still drain by itself: its bytes are in the kernel for whoever reads.
bool stands_still();
/// True when no connect() is under way: the process may be frozen. What is still on its way to it goes on to its next place.
bool may_freeze();

}  // namespace msocket::transport
