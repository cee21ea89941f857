// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/master.h"

#include <spdlog/spdlog.h>

#include <stdexcept>

#include "src/util/text.h"

namespace msocket::daemons {

namespace {
constexpr Millis kNodeSilence(7000);           // three missed registrations
constexpr std::chrono::seconds kAddressAge(60);  // the cleaner's limit (paper 6.1)
constexpr Millis kCleanEvery(5000);

uint32_t mask_of(int bits) { return ~uint32_t{0} << (32 - bits); }
}  // namespace

Master::Master(asio::io_context& io, const Config& config, const MasterConfig& own, const std::string& listen_address,
               uint16_t listen_port)
    : io_(io),
      server_(std::make_shared<PortServer>(io.get_executor(), listen_address, listen_port, config.key)),
      table_(parse_subnet(own.subnet).network, mask_of(parse_subnet(own.subnet).bits)),
      next_job_(1) {}

void Master::start() {
  server_->start(
      [this](Link::Ptr link) {
        link->start([this](Link::Ptr from, proto::Envelope request, proto::Envelope& reply) -> awaitable<void> {
          return serve(from, std::move(request), reply);
        }, {}, [this](Link::Ptr closed) {
          for (auto& [name, node] : nodes_)
            if (node.link == closed) {
              spdlog::info("node {} has gone", name);
              node.link = nullptr;
            }
        });
      },
      {});
  spawn(io_.get_executor(), [this]() -> awaitable<void> { co_await clean_loop(); });
}

bool Master::alive(const Node& node) const {
  return node.link && node.link->open() && Clock::now() - node.seen < kNodeSilence;
}

awaitable<void> Master::clean_loop() {
  for (;;) {
    co_await sleep_for(kCleanEvery);
    if (size_t n = table_.clean(Clock::now(), kAddressAge)) spdlog::info("{} addresses aged out", n);
  }
}

void Master::register_node(const Link::Ptr& link, const proto::RegisterNode& request) {
  const auto& info = request.node();
  auto& node = nodes_[info.name()];
  if (node.link && node.link != link && alive(node))
    throw std::runtime_error("there is a node '" + info.name() + "' already, at " + node.info.address());
  if (node.link != link) spdlog::info("node {} at {}:{}, {}", info.name(), info.address(), info.port(), info.topology());
  node = {info, link, Clock::now()};
  for (const auto& address : request.addresses()) {
    table_.put(address, Clock::now());
    // Job numbers, and the rank numbers of programs under msrun (job "run"), come from one counter: see NewJob.
    uint64_t number = std::strtoull(address.job().c_str(), nullptr, 10);
    if (number == 0) number = address.rank();
    if (number >= next_job_) next_job_ = number + 1;
  }
}

void Master::lookup(const proto::Lookup& request, proto::Lookup* reply) {
  auto found = request.vip() ? table_.find(request.vip()) : table_.find(request.job(), request.rank());
  if (!found) throw std::runtime_error("no such address");
  *reply->mutable_address() = *found;
  auto it = nodes_.find(found->node());
  if (it == nodes_.end()) return;
  *reply->mutable_node() = it->second.info;
  reply->mutable_node()->set_alive(alive(it->second));
}

awaitable<void> Master::serve(Link::Ptr link, proto::Envelope request, proto::Envelope& reply) {
  auto now = Clock::now();
  switch (request.body_case()) {
    case proto::Envelope::kRegisterNode: register_node(link, request.register_node()); break;
    case proto::Envelope::kNewJob: reply.mutable_new_job()->set_job(std::to_string(next_job_++)); break;
    case proto::Envelope::kAllocAddress:
      *reply.mutable_alloc_address()->mutable_address() = table_.allocate(request.alloc_address(), now);
      break;
    case proto::Envelope::kRegisterAddress:
      if (!table_.put(request.register_address().address(), now)) throw std::runtime_error("an older generation");
      break;
    case proto::Envelope::kFence: {
      const auto& fence = request.fence();
      bool committed = table_.fence(fence.vip(), fence.generation());
      reply.mutable_fence()->set_committed(committed);
      spdlog::info("address {}: generation {} {}", ip_text(fence.vip()), fence.generation(),
                   committed ? "is there" : "is refused from now on");
      break;
    }
    case proto::Envelope::kReleaseAddress:
      table_.release(request.release_address().vip(), request.release_address().generation());
      break;
    case proto::Envelope::kLookup: lookup(request.lookup(), reply.mutable_lookup()); break;
    case proto::Envelope::kListNodes:
      for (auto& [name, node] : nodes_) {
        auto* info = reply.mutable_list_nodes()->add_nodes();
        *info = node.info;
        info->set_alive(alive(node));
      }
      break;
    default: throw std::runtime_error("this is a master: it does not take that request");
  }
  co_return;
}

}  // namespace msocket::daemons
