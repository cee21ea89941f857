// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/directory.h"

#include <spdlog/spdlog.h>

#include <stdexcept>

#include "src/util/text.h"

namespace msocket::daemons {

namespace {
constexpr Millis kRegisterEvery(2000);
constexpr Millis kMasterRetry(200);
constexpr Millis kAskLimit(5000);
constexpr Millis kLinkLimit(2000);

bool contains(const Subnet& subnet, uint32_t ip) { return (ip & (~uint32_t{0} << (32 - subnet.bits))) == subnet.network; }
}  // namespace

Directory::Directory(asio::io_context& io, const Config& config) : io_(io), key_(config.key) {
  for (const auto& master : config.masters)
    masters_.push_back(std::make_shared<MasterLink>(MasterLink{master, parse_subnet(master.subnet), nullptr}));
  if (masters_.empty()) throw std::runtime_error("the configuration names no master");
}

void Directory::start(Describe describe, Link::OnRequest on_request, Link::OnNotice on_notice) {
  describe_ = std::move(describe);
  on_request_ = std::move(on_request);
  on_notice_ = std::move(on_notice);
  for (auto& master : masters_)
    spawn(io_.get_executor(), [this, master]() -> awaitable<void> { co_await keep_registered(master); });
}

awaitable<void> Directory::keep_registered(std::shared_ptr<MasterLink> master) {
  std::string last_error;
  for (;;) {
    std::string why;
    try {
      if (!master->link || !master->link->open()) {
        master->link = co_await Link::connect(io_.get_executor(), master->config.address, master->config.port, key_);
        master->link->start({}, {}, {});
      }
      proto::Envelope request;
      *request.mutable_register_node() = describe_(master->subnet);
      co_await master->link->call(std::move(request), kAskLimit);
      registered_ = true;
    } catch (const std::exception& error) {
      why = error.what();
    }
    if (why != last_error) {
      if (why.empty()) spdlog::info("registered at master {}", master->config.address);
      else spdlog::warn("master {}: {}", master->config.address, why);
    }
    last_error = why;
    co_await sleep_for(why.empty() ? kRegisterEvery : kMasterRetry);
  }
}

Directory::MasterLink& Directory::master_of(uint32_t vip) {
  for (auto& master : masters_)
    if (!vip || contains(master->subnet, vip)) return *master;
  throw std::runtime_error("no master is configured for " + ip_text(vip));
}

awaitable<proto::Envelope> Directory::ask_master(uint32_t vip, proto::Envelope request) {
  MasterLink& master = master_of(vip);
  if (!master.link || !master.link->open())
    throw std::runtime_error("the master at " + master.config.address + " does not answer");
  Link::Ptr link = master.link;
  proto::Envelope reply = co_await link->call(std::move(request), kAskLimit);
  co_return reply;
}

void Directory::learn(uint32_t vip, Place place) {
  auto it = cache_.find(vip);
  if (it == cache_.end() || it->second.generation <= place.generation) cache_[vip] = std::move(place);
}

awaitable<Place> Directory::find(uint32_t vip) {
  auto it = cache_.find(vip);
  if (it != cache_.end()) co_return it->second;
  proto::Envelope request;
  request.mutable_lookup()->set_vip(vip);
  proto::Envelope reply = co_await ask_master(vip, std::move(request));
  const auto& found = reply.lookup();
  Place place{found.node().name(), found.node().address(), static_cast<uint16_t>(found.node().port()),
              found.address().generation()};
  if (place.address.empty()) throw std::runtime_error("the node of " + ip_text(vip) + " is not known");
  learn(vip, place);
  co_return place;
}

awaitable<std::vector<proto::NodeInfo>> Directory::nodes() {
  proto::Envelope request;
  request.mutable_list_nodes();
  proto::Envelope reply = co_await ask_master(0, std::move(request));
  co_return std::vector<proto::NodeInfo>(reply.list_nodes().nodes().begin(), reply.list_nodes().nodes().end());
}

awaitable<proto::NodeInfo> Directory::node(std::string name) {
  std::vector<proto::NodeInfo> all = co_await nodes();
  std::string names;
  for (const auto& info : all) {
    if (info.name() == name) {
      if (!info.alive()) throw std::runtime_error("node " + name + ": its daemon does not answer");
      co_return info;
    }
    names += " " + info.name();
  }
  throw std::runtime_error("no node '" + name + "' (nodes:" + names + ")");
}

awaitable<Link::Ptr> Directory::link_to(std::string address, uint16_t port) {
  std::string name = address + ":" + std::to_string(port);
  auto it = links_.find(name);
  if (it != links_.end() && it->second->open()) co_return it->second;
  Link::Ptr link = co_await Link::connect(io_.get_executor(), address, port, key_, kLinkLimit);
  link->start(on_request_, on_notice_, {});
  // Two may have asked at once; one link is as good as the other.
  links_[name] = link;
  co_return link;
}

}  // namespace msocket::daemons
