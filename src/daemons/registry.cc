// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/registry.h"

#include <spdlog/spdlog.h>

#include <cstdlib>
#include <stdexcept>

#include "src/util/text.h"

namespace msocket::daemons {

namespace {
constexpr std::chrono::milliseconds kNodeSilence(7000);  // three missed registrations
}

bool Registry::alive(const Node& node, Time now) { return node.speaker && now - node.seen < kNodeSilence; }

std::string Registry::gone(Speaker speaker) {
  std::string found;
  for (auto& [name, node] : nodes_)
    if (node.speaker == speaker) {
      node.speaker = 0;
      found = name;
    }
  return found;
}

void Registry::register_node(Speaker speaker, const proto::RegisterNode& request, Time now) {
  const auto& info = request.node();
  auto& node = nodes_[info.name()];
  if (node.speaker != speaker && alive(node, now))
    throw std::runtime_error("there is a node '" + info.name() + "' already, at " + node.info.address());
  if (node.speaker != speaker) spdlog::info("node {} at {}:{}, {}", info.name(), info.address(), info.port(), info.topology());
  node = {info, speaker, now};
  for (const auto& address : request.addresses()) {
    table_.put(address, now);
    // Job numbers, and the rank numbers of programs under msrun (job "run"), come from one counter: see NewJob.
    uint64_t number = std::strtoull(address.job().c_str(), nullptr, 10);
    if (number == 0) number = address.rank();
    if (number >= next_job_) next_job_ = number + 1;
  }
}

void Registry::lookup(const proto::Lookup& request, proto::Lookup* reply, Time now) const {
  auto found = request.vip() ? table_.find(request.vip()) : table_.find(request.job(), request.rank());
  if (!found) throw std::runtime_error("no such address");
  *reply->mutable_address() = *found;
  auto it = nodes_.find(found->node());
  if (it == nodes_.end()) return;
  *reply->mutable_node() = it->second.info;
  reply->mutable_node()->set_alive(alive(it->second, now));
}

Registry::Outcome Registry::serve(Speaker speaker, const proto::Envelope& request, proto::Envelope& reply, Time now) {
  switch (request.body_case()) {
    case proto::Envelope::kRegisterNode: register_node(speaker, request.register_node(), now); break;
    case proto::Envelope::kNewJob: reply.mutable_new_job()->set_job(std::to_string(next_job_++)); break;
    case proto::Envelope::kAllocAddress:
      *reply.mutable_alloc_address()->mutable_address() = table_.allocate(request.alloc_address(), now);
      break;
    case proto::Envelope::kRegisterAddress:
      if (!table_.put(request.register_address().address(), now)) return Outcome::kOldGeneration;
      break;
    case proto::Envelope::kFence: {
      const auto& fence = request.fence();
      bool committed = table_.fence(fence, now);
      reply.mutable_fence()->set_committed(committed);
      auto present = table_.find(fence.vip());
      reply.mutable_fence()->set_ended(committed && !(present && present->job() == fence.job() && present->rank() == fence.rank()));
      spdlog::info("address {}: generation {} {}", ip_text(fence.vip()), fence.generation(),
                   committed ? "is there" : "is refused from now on");
      break;
    }
    case proto::Envelope::kReleaseAddress:
      table_.release(request.release_address(), now);
      break;
    case proto::Envelope::kLookup: lookup(request.lookup(), reply.mutable_lookup(), now); break;
    case proto::Envelope::kListNodes:
      for (auto& [name, node] : nodes_) {
        auto* info = reply.mutable_list_nodes()->add_nodes();
        *info = node.info;
        info->set_alive(alive(node, now));
      }
      break;
    default: return Outcome::kNotMine;
  }
  return Outcome::kAnswered;
}

}  // namespace msocket::daemons
