// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/address_table.h"

#include <stdexcept>

#include "src/util/text.h"

namespace msocket::daemons {

AddressTable::AddressTable(uint32_t network, uint32_t mask) : network_(network), mask_(mask), next_(network + 1) {}

proto::AddressInfo AddressTable::allocate(const proto::AllocAddress& request, Time now) {
  uint32_t vip = request.wanted_vip();
  if (vip) {
    if (!inside(vip)) throw std::runtime_error(ip_text(vip) + " is not in this master's subnet");
    if (entries_.count(vip)) throw std::runtime_error("address " + ip_text(vip) + " is in use");
  } else {
    uint32_t last = (network_ | ~mask_) - 1, tried = 0, size = ~mask_ - 1;
    for (; tried < size; ++tried) {
      if (next_ > last) next_ = network_ + 1;
      vip = next_++;
      if (!entries_.count(vip)) break;
    }
    if (tried == size) throw std::runtime_error("no virtual address is left in this subnet");
  }
  proto::AddressInfo address;
  address.set_vip(vip);
  address.set_job(request.job());
  address.set_rank(request.rank());
  address.set_node(request.node());
  entries_[vip] = {address, now, 0};
  return address;
}

bool AddressTable::put(const proto::AddressInfo& address, Time now) {
  if (!inside(address.vip())) return false;
  auto it = entries_.find(address.vip());
  if (it != entries_.end()) {
    const auto& known = it->second.address;
    if (address.generation() < known.generation()) return false;
    if (address.generation() == known.generation() && address.node() != known.node()) return false;
    if (address.generation() && address.generation() == it->second.fenced) return false;
  }
  auto& entry = entries_[address.vip()];
  entry.address = address;
  entry.verified = now;
  return true;
}

bool AddressTable::fence(uint32_t vip, uint32_t generation) {
  auto it = entries_.find(vip);
  if (it == entries_.end()) return false;
  if (it->second.address.generation() >= generation) return true;
  it->second.fenced = generation;
  return false;
}

void AddressTable::release(uint32_t vip, uint32_t generation) {
  auto it = entries_.find(vip);
  if (it != entries_.end() && it->second.address.generation() <= generation) entries_.erase(it);
}

std::optional<proto::AddressInfo> AddressTable::find(uint32_t vip) const {
  auto it = entries_.find(vip);
  if (it == entries_.end()) return std::nullopt;
  return it->second.address;
}

std::optional<proto::AddressInfo> AddressTable::find(const std::string& job, uint32_t rank) const {
  for (const auto& [vip, entry] : entries_)
    if (entry.address.job() == job && entry.address.rank() == rank) return entry.address;
  return std::nullopt;
}

size_t AddressTable::clean(Time now, std::chrono::seconds age) {
  return std::erase_if(entries_, [&](const auto& item) { return now - item.second.verified > age; });
}

}  // namespace msocket::daemons
