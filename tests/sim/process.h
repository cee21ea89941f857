// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A process: a copy of the library, the descriptors of the node where it is now, and a program.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "tests/sim/kernel.h"
#include "tests/sim/module.h"

namespace msocket::sim {

/// A fresh place for a process that moves: made by the destination's daemon, entered in the freeze (process.cc).
struct Arrival {
  std::shared_ptr<Proc> proc;
  wire::ControlRecord start;
  int mirror_fd = -1;
};

struct Process {
  int number = 0;
  std::string name;
  uint32_t vip = 0;
  const Library* lib = nullptr;
  std::shared_ptr<Proc> proc;
  std::optional<Arrival> arrival;
  Process* connecting_to = nullptr;  ///< its program is in connect(); the oracle does not know the connection yet
  bool connecting_lossy = false;
  int freezes = 0;  ///< how often it has stood still
};

/// Loads a copy of the library of its own.
const Library* load_library(const std::string& module, int number);

}  // namespace msocket::sim
