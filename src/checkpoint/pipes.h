// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Pipes whose both ends are in the process itself (the self-pipe of an event loop), with what is in them. A pipe that leads to
// another process keeps its process where it is. Async-signal-safe.
#pragma once
#include <cstdint>

namespace msocket::checkpoint {

struct Refusal;

void begin_pipes();
/// Notes one end, found under `fd`.
void note_pipe(int fd, uint64_t inode, Refusal* why);
/// When all ends are noted: takes a copy of what is in them, and leaves it there. False: `why` says which cannot move.
bool save_pipes(Refusal* why);
/// Gives the copies back.
void forget_pipes();
/// Makes them again under their numbers; afterwards they are forgotten.
bool restore_pipes(Refusal* why);

}  // namespace msocket::checkpoint
