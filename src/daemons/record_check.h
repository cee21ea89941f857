// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What a process says on its control channel. The process runs somebody's program and is trusted less than the daemon: it must
// not be able to make the daemon hold more than it has a use for, nor read past a record's end. No I/O.
#pragma once
#include <cstddef>

#include "src/wire/control.h"

namespace msocket::daemons {

/// Above what the library can have: sockets of one process, and calls of it at a time.
inline constexpr size_t kMaxSockets = 16384;

/// What the daemon holds for the process now.
struct RecordBooks {
  size_t listeners = 0, reconnects = 0, answers = 0, connecting = 0;
  bool arriving = false;    ///< it is being filled from another node
  bool tracking = false;    ///< it has been asked for a userfaultfd
  bool installing = false;  ///< it has been given a new socket and has not answered yet
};

/// Makes the text end, whatever came. False: no record of ours.
bool sane(wire::ControlRecord& record);

/// nullptr: it is to be taken. Else why it is not.
const char* why_not_taken(const wire::ControlRecord& record, size_t descriptors, const RecordBooks& books);

}  // namespace msocket::daemons
