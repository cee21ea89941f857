// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The simulated kernel's system calls, as src/transport makes them through src/transport/raw.h (-DMSOCKET_SIM) and the
// mirror through libc (libc_face.cc). A call that this kernel does not know ends the run with its number.
#pragma once
#include <signal.h>
#include <ucontext.h>

#include "tests/sim/files.h"

namespace msocket::sim {

/// Unless the program has asked for less (SO_SNDBUF).
inline constexpr size_t kSendRoom = 17000, kReceiveRoom = 5000;

/// The stub is to look again: a signal came before the call was made, or the call would be restarted (src/transport/stub.h).
inline constexpr long kLookAgain = -4200;

struct Process;

/// The descriptors and signals of one process on one node. A process that moves gets another one.
struct Proc {
  explicit Proc(std::string name);
  ~Proc();
  int lowest_free(int from) const;
  int put(FilePtr file, int from = 0, bool close_on_exec = false);
  FilePtr find(int fd) const;
  void close_all() { table.clear(); }

  struct Entry {
    FilePtr file;
    bool close_on_exec = false;
  };
  std::string name;
  int tid;
  Process* process = nullptr;  ///< nullptr: a mirror's
  std::map<int, Entry> table;
  void (*handler)(int, siginfo_t*, void*) = nullptr;
  int pending = 0;      ///< control signals
  bool killed = false;  ///< a mirror: it ends at its next call
  uint64_t sigpipes = 0;
};
Proc* find_proc(int tid);

/// A mirror that is killed leaves its functions by this.
struct Killed {};

/// The seam. `guarded`: made by ms_stub; may return kLookAgain.
long system_call(long nr, const long* arguments, bool guarded);
/// While this lives the current fiber does not give way: no signal, no other process, no network.
struct Still {
  Still();
  ~Still();
};

/// Bytes that a copy of the library has mapped and not given back.
size_t mapped_bytes();

}  // namespace msocket::sim
