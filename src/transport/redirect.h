// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What the daemon's records do to a virtual socket (paper 5.5), and the two ends of a move of this process itself.
// Lock held; async-signal-safe.
#pragma once
#include "src/transport/vsocket.h"
#include "src/wire/control.h"

namespace msocket::transport {

/// Of connections that are to be accepted out of the tables: how many there have been.
extern uint32_t unaccepted_arrivals;

/// kConnected: a connect() is answered.
void on_connected(const wire::ControlRecord& record, int fd);
/// kHold, with kFlagHold: calls on this connection wait until it is installed or let go; other processes have it, too.
void on_hold(const wire::ControlRecord& record);
/// kInstall: the connection goes over `fd` from now on (fd < 0: the peer has closed it for good).
void on_install(const wire::ControlRecord& record, int fd);

/// Gives the daemon's end of a listener channel to the daemon; the descriptor is used up. 0 or -errno.
long announce_listener(VSocket* vs, int fd);

/// True for a connection that is there, in whatever state of a move: it goes along.
bool lives(const VSocket* vs);
/// The freeze: takes connections that wait in the listener channels into the tables, saves every socket's options.
/// After this the process's memory says all that there is to say about its sockets.
void prepare_freeze();
/// Puts what prepare_freeze has taken apart together again, when the move is called off.
void undo_freeze();

/// In the new process: rebuilds a kernel socket under each number and tells the daemon of every connection and listener.
/// `start` is the daemon's kStart record; mirror_fd < 0: there is no mirror. Sends kReconnect and kListen records.
/// Returns the number of connections announced.
int restore_sockets(const wire::ControlRecord& start, int mirror_fd);

/// In the new process, before it runs: a connection that was accepted for it while it was suspended. Sends kReconnect.
void adopt_held(const wire::ControlRecord& record);

/// Replaces the socket under all numbers of `vs` by `fd`, with the options and flags of what was there; closes `fd`.
void put_under_numbers(VSocket* vs, int fd);
/// Accepts one record of the listener's channel into a new socket that carries `fd`; nullptr when the tables are full.
VSocket* adopt(const VSocket* listener, const wire::AcceptRecord& record, int fd);

}  // namespace msocket::transport
