// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/placement.h"

#include <hwloc.h>
#include <hwloc/glibc-sched.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace msocket::daemons {

struct Placement::Topology {
  hwloc_topology_t handle = nullptr;
  Topology() {
    if (hwloc_topology_init(&handle) != 0 || hwloc_topology_load(handle) != 0)
      throw std::runtime_error("hwloc cannot read this machine's topology");
  }
  ~Topology() {
    if (handle) hwloc_topology_destroy(handle);
  }
  int count(hwloc_obj_type_t type) const { return std::max(0, hwloc_get_nbobjs_by_type(handle, type)); }
};

Placement::Placement(bool bind) : topology_(std::make_unique<Topology>()), bind_(bind) {
  int packages = topology_->count(HWLOC_OBJ_PACKAGE), cores = topology_->count(HWLOC_OBJ_CORE);
  int units = topology_->count(HWLOC_OBJ_PU);
  cores_ = std::max(1, cores ? cores : units);
  auto text = [](int n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); };
  summary_ = text(packages, "package") + ", " + text(static_cast<int>(cores_), "core") + ", " + text(units, "PU");
}

Placement::~Placement() = default;

cpu_set_t Placement::core_set(uint32_t core) const {
  cpu_set_t set;
  CPU_ZERO(&set);
  auto type = topology_->count(HWLOC_OBJ_CORE) ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
  if (hwloc_obj_t object = hwloc_get_obj_by_type(topology_->handle, type, core))
    hwloc_cpuset_to_glibc_sched_affinity(topology_->handle, object->cpuset, &set, sizeof set);
  return set;
}

cpu_set_t Placement::take(uint32_t key) {
  cpu_set_t none;
  CPU_ZERO(&none);
  if (!bind_) return none;
  give_back(key);
  std::vector<int> users(cores_);
  for (auto [other, core] : core_of_) ++users[core];
  uint32_t best = std::min_element(users.begin(), users.end()) - users.begin();
  core_of_[key] = best;
  return core_set(best);
}

void Placement::give_back(uint32_t key) { core_of_.erase(key); }

std::string Placement::where(uint32_t key) const {
  auto it = core_of_.find(key);
  if (it == core_of_.end()) return {};
  cpu_set_t set = core_set(it->second);
  std::string text;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) text += (text.empty() ? "" : ",") + std::to_string(cpu);
  return text;
}

}  // namespace msocket::daemons
