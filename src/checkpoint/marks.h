// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include "src/wire/look.h"

namespace msocket::checkpoint {

/// What the daemon has read about this process's memory: a file of wire::MemoryMark, or -1: nothing special.
void read_marks(int fd);

}  // namespace msocket::checkpoint
