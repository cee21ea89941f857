// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "src/daemons/address_table.h"

namespace msocket::daemons {

/// What a master knows and how it answers: nodes, addresses, job numbers. No I/O; time is given by the caller.
class Registry {
 public:
  using Time = AddressTable::Time;
  /// Who asks: names one link for as long as it is open; 0 is nobody.
  using Speaker = uintptr_t;
  enum class Outcome { kAnswered, kNotMine, kOldGeneration };

  Registry(uint32_t network, uint32_t mask) : table_(network, mask) {}
  /// Throws std::runtime_error with one line when the request is refused. kOldGeneration: refused, and to be counted.
  Outcome serve(Speaker speaker, const proto::Envelope& request, proto::Envelope& reply, Time now);
  /// The link is closed. Returns the node that spoke on it, or "".
  std::string gone(Speaker speaker);
  size_t clean(Time now, std::chrono::seconds age) { return table_.clean(now, age); }

 private:
  struct Node {
    proto::NodeInfo info;
    Speaker speaker = 0;
    Time seen;
  };
  void register_node(Speaker speaker, const proto::RegisterNode& request, Time now);
  void lookup(const proto::Lookup& request, proto::Lookup* reply, Time now) const;
  static bool alive(const Node& node, Time now);

  AddressTable table_;
  std::map<std::string, Node> nodes_;
  uint64_t next_job_ = 1;
};

}  // namespace msocket::daemons
