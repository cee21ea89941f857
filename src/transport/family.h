// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// fork: a child shares its parent's sockets and gets a control channel of its own, so that a redirection reaches every
// process that has the socket. Called by pthread_atfork, in the program's own time.
#pragma once

namespace msocket::transport {

/// In the parent, before: waits until no connection is on its way, makes the child's channel, takes the lock.
void before_fork();
void after_fork_in_parent();
void after_fork_in_child();

}  // namespace msocket::transport
