// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace msocket::checkpoint {

/// transport::look_hook: a dry look, in the handler, lock held. Writes what it finds into `report` (src/wire/look.h) and changes
/// nothing; `marks` (or -1) is kept for a move. Owns neither.
void look(int report, int marks, uint32_t flags);

}  // namespace msocket::checkpoint
