// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/master.h"

#include <spdlog/spdlog.h>

#include <stdexcept>

#include "src/util/text.h"

namespace msocket::daemons {

namespace {
constexpr std::chrono::seconds kAddressAge(60);  // the cleaner's limit (paper 6.1)
constexpr Millis kCleanEvery(5000);

uint32_t mask_of(int bits) { return ~uint32_t{0} << (32 - bits); }
Registry::Speaker speaker_of(const Link::Ptr& link) { return reinterpret_cast<Registry::Speaker>(link.get()); }
}  // namespace

Master::Master(asio::io_context& io, const Config& config, const MasterConfig& own, const std::string& listen_address,
               uint16_t listen_port)
    : io_(io),
      server_(std::make_shared<PortServer>(io.get_executor(), listen_address, listen_port, config.key)),
      registry_(parse_subnet(own.subnet).network, mask_of(parse_subnet(own.subnet).bits)) {}

void Master::start() {
  server_->start(
      [this](Link::Ptr link) {
        link->start([this](Link::Ptr from, proto::Envelope request, proto::Envelope& reply) -> awaitable<void> {
          return serve(from, std::move(request), reply);
        }, {}, [this](Link::Ptr closed) {
          if (std::string name = registry_.gone(speaker_of(closed)); !name.empty()) spdlog::info("node {} has gone", name);
        });
      },
      {});
  spawn(io_.get_executor(), [this]() -> awaitable<void> { co_await clean_loop(); });
}

awaitable<void> Master::clean_loop() {
  for (;;) {
    co_await sleep_for(kCleanEvery);
    if (size_t n = registry_.clean(Clock::now(), kAddressAge)) spdlog::info("{} addresses aged out", n);
  }
}

awaitable<void> Master::serve(Link::Ptr link, proto::Envelope request, proto::Envelope& reply) {
  if (!link->open()) co_return;  // its node is off the list already
  if (request.body_case() == proto::Envelope::kListStrangers) {
    server_->list_strangers(reply.mutable_list_strangers());
    co_return;
  }
  switch (registry_.serve(speaker_of(link), request, reply, Clock::now())) {
    case Registry::Outcome::kAnswered: break;
    case Registry::Outcome::kOldGeneration:
      server_->refused(wire::Reason::kGeneration, link->name());
      throw std::runtime_error("an older generation");
    case Registry::Outcome::kNotMine: throw std::runtime_error("this is a master: it does not take that request");
  }
}

}  // namespace msocket::daemons
