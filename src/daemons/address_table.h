// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/wire/msocket.pb.h"

namespace msocket::daemons {

/// The master's tables (paper 6.1): which virtual addresses are in use and when each was last verified, and where each is
/// now. Pure bookkeeping, no I/O; time is given by the caller.
class AddressTable {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// Hands out addresses network+1 .. network+size-2, both in host order.
  AddressTable(uint32_t network, uint32_t mask);

  /// A free address, `wanted` if that is not 0; throws std::runtime_error with one line when there is none.
  proto::AddressInfo allocate(const proto::AllocAddress& request, Time now);
  /// Where an address is now. False: an older generation than the one known, or an address outside the subnet.
  bool put(const proto::AddressInfo& address, Time now);
  /// Refuses this generation of the address from now on. True: too late, it is registered, or was and has been released since.
  bool fence(const proto::Fence& request, Time now);
  /// Who held it has ended, or (called_off) never ran.
  void release(const proto::ReleaseAddress& request, Time now);
  std::optional<proto::AddressInfo> find(uint32_t vip) const;
  std::optional<proto::AddressInfo> find(const std::string& job, uint32_t rank) const;
  /// Forgets what nobody has verified for `age`; returns how many.
  size_t clean(Time now, std::chrono::seconds age);
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    proto::AddressInfo address;
    Time verified;
    uint32_t fenced = 0;  ///< a generation that put() refuses; 0: none
  };
  /// What is to be remembered of a rank whose address is not, or no longer, in the table.
  struct Past {
    std::string job;
    uint32_t rank = 0;
    uint32_t released = 0, fenced = 0;  ///< generations; 0: none
    Time at;
  };
  Past& past(uint32_t vip, const std::string& job, uint32_t rank, Time now);
  bool inside(uint32_t vip) const { return (vip & mask_) == network_; }
  uint32_t network_, mask_, next_;
  std::map<uint32_t, Entry> entries_;
  std::map<uint32_t, Past> past_;
};

}  // namespace msocket::daemons
