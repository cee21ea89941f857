// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// exec: the program that comes next in this process goes on with the virtual sockets that it inherits, and with the channel to the
// daemon. What the library knows goes from its one copy to the other in a memfd under a number of its own. No memory is
// allocated: a child of a process with threads may call exec, too.
#pragma once
#include <cstddef>

namespace msocket::transport {

/// Plain memory of the library's that the next copy begins with. Every copy must register the same, in the same order, before
/// take_over().
void goes_over_exec(void* memory, size_t size);

/// Before an exec of `path` with `environment`: waits until no connection is on its way, and leaves everything for the next program.
/// On return the lock is held and the program's signals are blocked. False, and nothing is changed: that program will not be under
/// msocket (static, set-user-id, another environment), or this one is not; it gets plain sockets.
bool begin_exec(const char* path, char* const* environment);
/// That exec has failed: the program goes on.
void exec_failed();

/// In the next program, before anything else: true if another left its sockets here. The handler is to be installed and the
/// channel armed by the caller, then end_take_over() lets the program's signals come.
bool take_over();
void end_take_over();

/// execve, with all that.
long do_execve(const char* path, char* const* arguments, char* const* environment);

}  // namespace msocket::transport
