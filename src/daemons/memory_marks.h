// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What /proc/PID/smaps tells of a process's memory beyond its memory map. The kernel goes through all page tables for it (some 50 ms
// for each GiB), so the daemon reads it, in a thread, while the process runs.
#pragma once
#include <istream>
#include <string>
#include <vector>

#include "src/wire/look.h"
#include "src/wire/msocket.pb.h"

namespace msocket::daemons {

struct MemoryMarks {
  std::vector<wire::MemoryMark> marks;    ///< only of mappings about which there is something to say
  std::vector<std::string> reasons;       ///< why it cannot move
  std::vector<proto::HugePages> huge_pages;
};

MemoryMarks parse_smaps(std::istream& in);

}  // namespace msocket::daemons
