// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/connector.h"

#include <errno.h>
#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "src/daemons/data_socket.h"
#include "src/daemons/node.h"
#include "src/daemons/redirector.h"
#include "src/transport/channel.h"
#include "src/util/text.h"

namespace msocket::daemons {

namespace {
constexpr Millis kConnectLimit(30000);
constexpr Millis kMoveLimit(120000);
constexpr Millis kOpenPatience(1000);  // with a rank that stands still: then the opener asks again
constexpr uint64_t kMaxHeld = 4096;

wire::AcceptRecord accepted(const wire::ConnHeader& header) {
  wire::AcceptRecord record;
  record.conn = header.conn;
  record.peer = header.from;
  record.peer_gen = header.from_gen;
  return record;
}
}  // namespace

void Connector::connect(const Rank::Ptr& rank, const ProcessChannel::Ptr& from, const wire::ControlRecord& request) {
  spawn(node_.io.get_executor(),
        [this, rank, from, request]() -> awaitable<void> {
          ++rank->connecting;
          co_await run_connect(rank, from, request);
          --rank->connecting;
          rank->changed.notify();
        });
}

awaitable<void> Connector::run_connect(Rank::Ptr rank, ProcessChannel::Ptr from, wire::ControlRecord request) {
  wire::ControlRecord reply = request;
  reply.type = wire::Control::kConnected;
  reply.error = ETIMEDOUT;
  ScopedFd fd;
  auto deadline = Clock::now() + kConnectLimit;
  int errors = 0, refusals = 0;
  while (Clock::now() < deadline && rank->here()) {
    Millis pause = kRetry;
    std::string why;
    try {
      Place place = co_await node_.directory.find(request.peer.ip);
      wire::ConnHeader header = header_for(wire::Purpose::kOpen, *rank, request, place.generation);
      wire::Key key = wire::job_key(node_.config.key, rank->spec.job());
      wire::DataStream data =
          co_await wire::open_data(node_.io.get_executor(), place.address, place.port, header, key, kOpenLimit);
      if (data.answer.verdict == wire::Verdict::kOk) {
        reply.error = 0;
        reply.peer_gen = data.answer.gen;
        fd = take(data.socket);
        break;
      }
      node_.directory.forget(request.peer.ip);
      // What we knew may be old: believe a refusal only from where the master says.
      if (data.answer.verdict == wire::Verdict::kRefused && ++refusals > 1) {
        reply.error = ECONNREFUSED;
        break;
      }
    } catch (const std::exception& error) {
      why = error.what();
      node_.directory.forget(request.peer.ip);
      reply.error = why == "no such address" ? ECONNREFUSED : EHOSTUNREACH;
      pause = kRetryError;
    }
    if (!why.empty() && (++errors >= 5 || reply.error == ECONNREFUSED)) {
      spdlog::info("rank {}: connect to {}:{}: {}", rank->name(), ip_text(request.peer.ip), request.peer.port, why);
      break;
    }
    co_await sleep_for(pause);
  }
  std::vector<int> fds;
  if (fd) fds.push_back(fd.get());
  from->send(reply, fds);
}

awaitable<void> Connector::accept(tcp::socket socket, wire::Caller caller) {
  const wire::ConnHeader& header = *caller.data;
  Rank::Ptr rank = node_.find(header.to.ip);
  bool open = header.preamble.purpose == wire::Purpose::kOpen;
  // As long as a process waits in connect() it does not stand still, whoever has asked it to. So it takes connections: two
  // that connect to each other would wait for each other.
  auto takes = [&] { return open && rank && rank->state == RankState::kMoving && rank->connecting > 0 && !rank->frozen; };
  // Not for one that is to arrive: that may be a rank which has just left, comes back as soon as its connections are settled,
  // and whose peer still looks for it here. The peer is told to ask where it is.
  if (rank && rank->state == RankState::kMoving && !takes()) co_await node_.wait_settled_place(rank, open ? kOpenPatience : kMoveLimit);
  rank = node_.find(header.to.ip);
  if (rank && rank->state == RankState::kSuspended && rank->spec.job() == header.job) {
    if (open) hold(std::move(socket), caller, rank);
    else say(socket, caller, node_.config.key, wire::Verdict::kNotYet, rank->generation);
    co_return;
  }
  if (open && rank && rank->state != RankState::kRunning && rank->state != RankState::kGone && !takes()) {
    say(socket, caller, node_.config.key, wire::Verdict::kNotYet, 0);
    co_return;
  }
  if (!rank || (rank->state != RankState::kRunning && !takes())) {
    auto left = node_.departed.find(header.to.ip);
    bool moved = left != node_.departed.end() || rank;
    say(socket, caller, node_.config.key, moved ? wire::Verdict::kMoved : wire::Verdict::kRefused, 0);
    co_return;
  }
  if (std::optional<wire::Reason> bad = object_to(header, *rank)) {  // as if the rank were not there
    node_.refused(*bad, address_of(socket));
    say(socket, caller, node_.config.key, wire::Verdict::kRefused, 0);
    co_return;
  }
  node_.directory.forget(header.from.ip);
  if (open) accept_open(std::move(socket), caller, rank);
  else co_await node_.redirector().accept(std::move(socket), caller, rank);
}

// What a caller who knows a job's key must not have all the same.
std::optional<wire::Reason> Connector::object_to(const wire::ConnHeader& header, const Rank& rank) const {
  if (rank.spec.job() != header.job) return wire::Reason::kJob;
  if (header.preamble.purpose == wire::Purpose::kRedirect && node_.redirector().knows_newer(header)) return wire::Reason::kGeneration;
  return std::nullopt;
}

// The listener is in a file; its connections wait here, as they would in its backlog.
void Connector::hold(tcp::socket socket, const wire::Caller& caller, const Rank::Ptr& rank) {
  uint16_t port = caller.data->to.port;
  auto backlog = rank->backlogs.find(port);
  auto& held = rank->suspended->held;
  size_t waiting = std::count_if(held.begin(), held.end(), [&](const auto& one) { return one.port == port; });
  bool open = rank->listeners.count(port) && backlog != rank->backlogs.end() &&
              waiting <= std::min<uint64_t>(backlog->second, kMaxHeld);
  say(socket, caller, node_.config.key, open ? wire::Verdict::kOk : wire::Verdict::kRefused, rank->generation);
  if (!open) return;
  held.push_back({accepted(*caller.data), port, take(socket)});
}

void Connector::accept_open(tcp::socket socket, const wire::Caller& caller, const Rank::Ptr& rank) {
  auto listener = rank->listeners.find(caller.data->to.port);
  bool open = listener != rank->listeners.end();
  if (open) {
    pollfd p{listener->second.get(), POLLOUT, 0};
    open = poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) && !(p.revents & (POLLHUP | POLLERR));  // else its backlog is full
  }
  say(socket, caller, node_.config.key, open ? wire::Verdict::kOk : wire::Verdict::kRefused, rank->generation);
  if (!open) return;
  ScopedFd fd = take(socket);
  wire::AcceptRecord record = accepted(*caller.data);
  int number = fd.get();
  transport::send_record(listener->second.get(), &record, sizeof record, &number, 1);
}

}  // namespace msocket::daemons
