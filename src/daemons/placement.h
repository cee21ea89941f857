// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <sched.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

struct hwloc_topology;

namespace msocket::daemons {

/// The node's cores (hwloc) and which rank sits where. While there are at least as many cores as ranks, each rank gets the
/// least used core of its own; beyond that ranks share cores evenly.
class Placement {
 public:
  explicit Placement(bool bind);
  ~Placement();
  uint32_t cores() const { return cores_; }
  /// One line for people: "1 package, 2 cores, 2 PUs".
  const std::string& summary() const { return summary_; }

  /// Chooses a core for `key` (a virtual address). Returns its processors, or an empty set when binding is off.
  cpu_set_t take(uint32_t key);
  void give_back(uint32_t key);
  /// "0" or "0,4": the processors that take() gave; "" when not bound.
  std::string where(uint32_t key) const;

 private:
  cpu_set_t core_set(uint32_t core) const;
  struct Topology;
  std::unique_ptr<Topology> topology_;
  bool bind_;
  uint32_t cores_ = 1;
  std::string summary_;
  std::map<uint32_t, uint32_t> core_of_;  // key -> core index
};

}  // namespace msocket::daemons
