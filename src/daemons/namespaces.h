// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A process that arrives keeps its process id, the ids of its threads and its monotonic clock: it is started in a pid namespace
// and a time namespace of its own, with a /proc to match. An ordinary user gets them inside a user namespace that has
// nobody but him. What the host forbids is found out once, at the daemon's start.
//
//   the daemon --fork--> a helper: makes the namespaces, starts the other two as children of the daemon's, and ends
//              `-------> msinit: process 1 of the namespace; takes in orphans and ends when nobody else is there
//              `-------> the process itself, under the id that it had
//
// The process is a child of the daemon's as any other: its exit status, its signals and PR_SET_PDEATHSIG need nothing new.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>

namespace msocket::daemons {

/// What a process must find as it was.
struct Identity {
  pid_t pid = 0;              ///< what its getpid() says
  int64_t monotonic_ns = 0;   ///< its clocks are the daemon's plus this
  int64_t boottime_ns = 0;
};

/// What the helper tells the daemon: `error` with `what`, or the two processes as the daemon sees them.
struct SpawnReport {
  int error = 0;
  pid_t init = 0;  ///< msinit; reported first
  pid_t pid = 0;   ///< the process; reported when it is there
  char what[60] = {};
};

/// In a child of the daemon's: reports errno with `what` and ends. Only system calls.
[[noreturn]] void fail(int report, const char* what);

enum class NamespaceKind {
  kNone,   ///< not allowed here
  kPlain,  ///< as root
  kUser,   ///< inside a user namespace
};
struct NamespacesHere {
  NamespaceKind kind = NamespaceKind::kNone;
  std::string why_not;
};
/// Found out by the first call, by starting a process. MSOCKET_NAMESPACES=no in the daemon's environment: none.
const NamespacesHere& namespaces_here();
/// Can a process have this id here?
bool can_have_pid(pid_t pid);

/// CLOCK_MONOTONIC or CLOCK_BOOTTIME, in nanoseconds.
int64_t clock_ns(int clock);

/// In the helper, a child of the daemon's: returns only in the process proper. `init`: the path of msinit. Only system calls.
void go_on_in_namespaces(NamespaceKind kind, const Identity& identity, const char* init, int report);

}  // namespace msocket::daemons
