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
  auto before = past_.find(address.vip());
  if (before != past_.end() && address.generation() && address.generation() == before->second.fenced &&
      before->second.job == address.job() && before->second.rank == address.rank())
    return false;
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

AddressTable::Past& AddressTable::past(uint32_t vip, const std::string& job, uint32_t rank, Time now) {
  Past& past = past_[vip];
  if (past.job != job || past.rank != rank) past = {job, rank, 0, 0, now};
  past.at = now;
  return past;
}

bool AddressTable::fence(const proto::Fence& request, Time now) {
  auto it = entries_.find(request.vip());
  // The address may belong to somebody else by now.
  if (it != entries_.end() && it->second.address.job() == request.job() && it->second.address.rank() == request.rank()) {
    if (it->second.address.generation() >= request.generation()) return true;
    it->second.fenced = request.generation();
    return false;
  }
  Past& old = past(request.vip(), request.job(), request.rank(), now);
  if (old.released >= request.generation()) return true;  // it ran there, and has ended
  old.fenced = request.generation();
  return false;
}

void AddressTable::release(const proto::ReleaseAddress& request, Time now) {
  auto it = entries_.find(request.vip());
  if (it == entries_.end() || it->second.address.generation() > request.generation()) return;
  const auto& address = it->second.address;
  Past& old = past(request.vip(), address.job(), address.rank(), now);
  if (!request.called_off()) old.released = address.generation();
  else if (it->second.fenced) old.fenced = it->second.fenced;
  entries_.erase(it);
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
  std::erase_if(past_, [&](const auto& item) { return now - item.second.at > 2 * age; });  // longer than a source asks
  return std::erase_if(entries_, [&](const auto& item) { return now - item.second.verified > age; });
}

}  // namespace msocket::daemons
