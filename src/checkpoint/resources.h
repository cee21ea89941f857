// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What a process has besides memory and registers: descriptors, signal dispositions, timers, working directory, umask.
// Save and restore stand side by side in resources.cc. Async-signal-safe.
#pragma once
#include <cstdint>

namespace msocket::checkpoint {

/// A place for one line that says what forbids a move, by name.
struct Refusal {
  char text[240] = {};
  void add(const char* words);
  void add(long number);
  bool empty() const { return text[0] == 0; }
};

/// Remembers which descriptors the daemon has provided (standard streams, PMI); called at the start and after a move.
void note_provided();
/// The same over an exec (transport/exec.h).
void provided_go_over_exec();
/// Looks at everything and saves it in memory of the process's own. False: `why` says what cannot move; nothing changed.
bool save_resources(const int* own_fds, int own_count, Refusal* why);
/// Gives back what save_resources has taken, when the process goes on here.
void forget_resources();
/// Puts everything back in the new process. False: `why` says what is not here.
bool restore_resources(Refusal* why);

}  // namespace msocket::checkpoint
