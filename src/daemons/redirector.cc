// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/redirector.h"

#include <errno.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "src/daemons/data_socket.h"
#include "src/daemons/installer.h"
#include "src/daemons/node.h"
#include "src/daemons/standby.h"
#include "src/transport/channel.h"
#include "src/util/text.h"
#include "src/wire/mirror_frame.h"

namespace msocket::daemons {

namespace {
constexpr Millis kRedirectLimit(120000);
constexpr Millis kMoveLimit(120000);
constexpr Millis kBothMovedPause(50);
constexpr Millis kRetryMost(100);  // "moved" and "not yet" again and again: a rank that is suspended
// A node that does not answer this often is taken to be gone, and its ranks with it.
constexpr int kMaxErrors = 100;
constexpr int kMaxRefusals = 20;

void lowest_water(int fd, int bytes) { setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes); }

}  // namespace

void Redirector::expect_all(const Rank::Ptr& rank) {
  for (const auto& record : rank->reconnects) {
    auto awaited = std::make_shared<Awaited>(node_.io.get_executor());
    awaited->rank = rank;
    awaited->record = record;
    awaited_[{record.conn, record.local}] = awaited;
  }
  rank->reconnects.clear();
}

void Redirector::reconnect_all(const Rank::Ptr& rank) {
  std::vector<AwaitedPtr> all;  // one that has ended is in the table no more
  for (const auto& [key, awaited] : awaited_)
    if (awaited->rank == rank) all.push_back(awaited);
  for (const AwaitedPtr& awaited : all) {
    spawn(
        node_.io.get_executor(), [this, awaited]() -> awaitable<void> { co_await run(awaited); },
        [awaited](const std::string& why) { spdlog::error("rank {}: redirection: {}", awaited->rank->name(), why); });
  }
}

// The rank may be given something, and may ask for something. False: it has gone, or there is nothing left to do.
awaitable<bool> Redirector::may_go_on(AwaitedPtr awaited) {
  const Rank::Ptr& rank = awaited->rank;
  co_await wait_until(rank->changed, kForever, [&] { return awaited->done || rank->state != RankState::kMoving; });
  co_return !awaited->done && rank->here();
}

awaitable<void> Redirector::run(AwaitedPtr awaited) {
  const Rank::Ptr& rank = awaited->rank;
  const wire::ControlRecord& record = awaited->record;
  auto deadline = Clock::now() + kRedirectLimit;  // since the last sign of life
  int errors = 0, refusals = 0, answers = 0;
  while (Clock::now() < deadline) {
    if (!co_await may_go_on(awaited)) co_return;
    Millis pause = std::min(kRetry * (1 << std::min(answers++, 8)), kRetryMost);
    Outcome outcome = Outcome::kMoved;
    std::string why;
    try {
      if (record.flags & wire::kFlagConnector) outcome = co_await reopen(awaited);
      else outcome = co_await request(awaited);
      if (outcome == Outcome::kEnded) co_return;
      if (outcome == Outcome::kNotSaid) continue;
      deadline = Clock::now() + kRedirectLimit;
    } catch (const std::exception& error) {
      why = error.what();
      pause = kRetryError;
    }
    if (outcome == Outcome::kBothMoved) pause = kBothMovedPause;
    else node_.directory.forget(record.peer.ip);
    if (outcome == Outcome::kGone || (outcome == Outcome::kRefused && ++refusals > kMaxRefusals)) break;
    if (why == "no such address" || (!why.empty() && ++errors >= kMaxErrors)) {
      spdlog::info("rank {}: peer {}: {}", rank->name(), ip_text(record.peer.ip), why);
      break;
    }
    co_await sleep_for(pause);
  }
  if (co_await may_go_on(awaited)) co_await finish(awaited, -1, 0);
}

awaitable<Redirector::Outcome> Redirector::reopen(AwaitedPtr awaited) {
  const wire::ControlRecord& record = awaited->record;
  const Rank::Ptr& rank = awaited->rank;
  Place place = co_await node_.directory.find(record.peer.ip);
  wire::PortStream port =
      co_await node_.standby().port(rank->vip, record.peer.ip, rank->vip, rank->generation, place.address, place.port);
  if (awaited->done || rank->state != RankState::kRunning) co_return Outcome::kNotSaid;
  wire::ConnHeader header = header_for(wire::Purpose::kRedirect, *rank, record, place.generation);
  header.flags = wire::kOpenerAwaits;
  wire::Key key = wire::job_key(node_.config.key, rank->spec.job());
  header.tag = wire::make_tag(key, wire::bytes_of(port.greeting), wire::before_tag(header));
  // In one step: said, and kept as undecided. On a fresh connection this cannot block.
  if (::send(port.socket.native_handle(), &header, sizeof header, MSG_NOSIGNAL) != sizeof header)
    throw std::runtime_error("the connection was lost");
  auto socket = std::make_shared<tcp::socket>(std::move(port.socket));
  awaited->undecided.push_back(socket);
  std::optional<wire::Answer> answer = co_await decision(awaited, socket);
  if (awaited->done || !rank->here()) co_return Outcome::kEnded;
  if (!answer) throw std::runtime_error("no answer to a redirection");
  if (!wire::good_answer(key, port.greeting, header, *answer)) throw std::runtime_error("the answer does not authenticate");
  switch (answer->verdict) {
    case wire::Verdict::kOk: {
      ScopedFd fd = take(*socket);
      co_await finish(awaited, fd.get(), answer->gen);
      co_return Outcome::kEnded;
    }
    case wire::Verdict::kGone: co_return Outcome::kGone;
    case wire::Verdict::kRefused: co_return Outcome::kRefused;
    default: co_return Outcome::kMoved;
  }
}

awaitable<Redirector::Outcome> Redirector::request(AwaitedPtr awaited) {
  const wire::ControlRecord& record = awaited->record;
  const Rank::Ptr& rank = awaited->rank;
  Place place = co_await node_.directory.find(record.peer.ip);
  Link::Ptr link = co_await node_.directory.link_to(place.address, place.port);
  if (awaited->done || rank->state != RankState::kRunning) co_return Outcome::kNotSaid;
  proto::Envelope request;
  auto* redirect = request.mutable_redirect();
  redirect->set_conn_hi(record.conn.hi);
  redirect->set_conn_lo(record.conn.lo);
  redirect->set_connector_ip(record.peer.ip);
  redirect->set_connector_port(record.peer.port);
  redirect->set_acceptor_ip(record.local.ip);
  redirect->set_acceptor_port(record.local.port);
  redirect->set_acceptor_gen(rank->generation);
  redirect->set_acceptor_node(node_.name());
  redirect->set_acceptor_address(node_.config.node.address);
  redirect->set_acceptor_node_port(node_.port());
  redirect->set_job(rank->spec.job());
  proto::Envelope reply = co_await link->call(std::move(request), kForever);  // a link to a dead node closes
  auto result = reply.redirect().result();
  // Whatever the reply says: what the peer has taken says so itself, on the socket (watch()), and comes first.
  auto decided = [&] { return awaited->done || awaited->undecided.empty(); };
  co_await wait_until(awaited->changed, result == proto::Redirect::kInstalled ? kForever : kRetryError, decided);
  if (awaited->done) co_return Outcome::kEnded;
  if (result == proto::Redirect::kGone && decided()) co_return Outcome::kGone;
  co_return result == proto::Redirect::kBothMoved ? Outcome::kBothMoved : Outcome::kMoved;
}

bool Redirector::knows_newer(const wire::ConnHeader& header) const {
  auto awaited = awaited_.find({header.conn, header.to});
  return awaited != awaited_.end() && header.from_gen < awaited->second->record.peer_gen;
}

awaitable<void> Redirector::finish(AwaitedPtr awaited, int fd, Generation peer_gen, int error) {
  if (awaited->done) co_return;
  awaited->done = true;
  awaited_.erase({awaited->record.conn, awaited->record.local});
  boost::system::error_code ignored;
  for (auto& socket : awaited->undecided) socket->close(ignored);  // asked for twice
  wire::ControlRecord about = awaited->record;
  about.flags = 0;
  about.error = error;
  if (peer_gen) about.peer_gen = peer_gen;
  awaited->changed.notify();
  int refused = co_await install(awaited->rank, about, fd);
  if (refused && refused != ENOTCONN)
    spdlog::error("rank {}: the process refuses its new connection: {}", awaited->rank->name(), strerror(refused));
}

awaitable<void> Redirector::accept(tcp::socket socket, const wire::Caller& caller, Rank::Ptr rank) {
  const wire::ConnHeader& header = *caller.data;
  bool opener_awaits = header.flags & wire::kOpenerAwaits;
  auto it = awaited_.find({header.conn, header.to});
  if (it != awaited_.end()) {
    AwaitedPtr awaited = it->second;
    if (opener_awaits && !awaited->undecided.empty()) {  // the peer may have moved after it took one of those: that is older
      say(socket, caller, node_.config.key, wire::Verdict::kNotYet, rank->generation);
      co_return;
    }
    say(socket, caller, node_.config.key, wire::Verdict::kOk, rank->generation);
    if (!opener_awaits) {
      auto kept = std::make_shared<tcp::socket>(std::move(socket));
      awaited->undecided.push_back(kept);  // its own end is served first
      spawn(node_.io.get_executor(), [this, awaited, kept]() -> awaitable<void> { co_await watch(awaited, kept); });
    } else {
      ScopedFd fd = take(socket);
      co_await finish(awaited, fd.get(), header.from_gen);
    }
    co_return;
  }
  if (!opener_awaits) {
    say(socket, caller, node_.config.key, wire::Verdict::kNotYet, rank->generation);
    co_return;
  }
  wire::ControlRecord about;
  about.conn = header.conn;
  about.local = header.to;
  about.peer = header.from;
  about.local_gen = rank->generation;
  about.peer_gen = header.from_gen;
  about.flags = wire::kFlagAnswer;
  // The process writes the answer itself, once it has switched: so the opener knows that, and no byte comes before it.
  wire::Answer answer = make_answer(caller, node_.config.key, wire::Verdict::kOk, rank->generation);
  static_assert(sizeof answer == wire::kAnswerLength);
  memcpy(about.text, &answer, sizeof answer);
  make_plain(socket);
  int error = co_await install(rank, about, socket.native_handle());
  if (error == 0) co_return;
  if (error == ESTALE) node_.refused(wire::Reason::kGeneration, address_of(socket));
  spdlog::info("rank {}: redirection refused by the process: {}", rank->name(), strerror(error));
  say(socket, caller, node_.config.key, error == ENOTCONN ? wire::Verdict::kGone : wire::Verdict::kNotYet, rank->generation);
}

awaitable<std::optional<wire::Answer>> Redirector::decision(AwaitedPtr awaited, SocketPtr socket) {
  const Rank::Ptr& rank = awaited->rank;
  wire::Answer answer;
  ssize_t n = -1;
  bool broken = false;
  lowest_water(socket->native_handle(), sizeof answer);
  watch_for_death(*socket);
  boost::system::error_code error;
  // Peeked at only: until the rank may take the socket, its mirror may have to.
  for (bool hung_up = false; n != sizeof answer && !hung_up;) {
    co_await socket->async_wait(tcp::socket::wait_read, asio::redirect_error(use_awaitable, error));
    if (error || awaited->done || !socket->is_open()) break;
    pollfd p{socket->native_handle(), POLLRDHUP, 0};
    hung_up = poll(&p, 1, 0) == 1;
    broken = p.revents & POLLERR;
    n = recv(socket->native_handle(), &answer, sizeof answer, MSG_PEEK | MSG_DONTWAIT);
  }
  bool there = n == sizeof answer;
  co_await wait_until(rank->changed, kForever, [&] { return awaited->done || rank->state != RankState::kMoving; });
  std::erase(awaited->undecided, socket);
  // Without an end nobody knows whether the peer had taken it: what it then wrote is lost with its mirror.
  if (!there && broken && !awaited->done && rank->here()) co_await finish(awaited, -1, 0, ECONNRESET);
  if (!there || awaited->done || !rank->here()) co_return std::nullopt;
  (void)!recv(socket->native_handle(), &answer, sizeof answer, MSG_DONTWAIT);
  lowest_water(socket->native_handle(), 1);
  if (answer.magic != wire::kPortMagic) co_return std::nullopt;
  co_return answer;
}

awaitable<void> Redirector::watch(AwaitedPtr awaited, SocketPtr socket) {
  std::optional<wire::Answer> answer = co_await decision(awaited, socket);
  if (answer && answer->verdict == wire::Verdict::kOk) {
    ScopedFd fd = take(*socket);
    co_await finish(awaited, fd.get(), answer->gen);
  }
  awaited->changed.notify();
}

void Redirector::hand_over(const Rank::Ptr& rank, int mailbox) {
  for (auto& [key, awaited] : awaited_) {
    if (awaited->rank != rank) continue;
    for (auto& socket : awaited->undecided) {
      bool connector = awaited->record.flags & wire::kFlagConnector;
      wire::MailboxRecord record{.type = wire::Mailbox::kConn,
                                 .conn = wire::mirror_name(key.first, rank->vip, awaited->record.peer.ip, connector),
                                 .flags = wire::kUndecided};
      int fd = socket->native_handle();
      transport::send_record(mailbox, &record, sizeof record, &fd, 1);
    }
  }
}

void Redirector::leave(const Rank::Ptr& rank) {
  std::erase_if(awaited_, [&](auto& entry) {
    const AwaitedPtr& awaited = entry.second;
    if (awaited->rank != rank) return false;
    awaited->done = true;
    boost::system::error_code ignored;
    for (auto& socket : awaited->undecided) {  // the mirror has it. If that is dead this is the last close: no end, as the peer may have it
      socket->set_option(tcp::socket::linger(true, 0), ignored);
      socket->close(ignored);
    }
    awaited->changed.notify();
    return true;
  });
}

awaitable<void> Redirector::serve_redirect(proto::Redirect request, proto::Redirect* reply) {
  Rank::Ptr rank = node_.find(request.connector_ip());
  if (rank && rank->state == RankState::kMoving) co_await node_.wait_settled_place(rank, kMoveLimit);
  rank = node_.find(request.connector_ip());
  reply->set_result(proto::Redirect::kMoved);
  if (rank && rank->spec.job() != request.job()) node_.refused(wire::Reason::kJob, request.acceptor_address());
  if (!rank || rank->state != RankState::kRunning || rank->spec.job() != request.job()) {
    co_return;
  }
  Place place{request.acceptor_node(), request.acceptor_address(), static_cast<uint16_t>(request.acceptor_node_port()),
              request.acceptor_gen()};
  node_.directory.learn(request.acceptor_ip(), place);
  wire::ControlRecord about;
  about.conn = {request.conn_hi(), request.conn_lo()};
  about.local = {request.connector_ip(), static_cast<uint16_t>(request.connector_port()), 0};
  about.peer = {request.acceptor_ip(), static_cast<uint16_t>(request.acceptor_port()), 0};
  about.peer_gen = request.acceptor_gen();
  if (awaited_.count({about.conn, about.local})) {
    reply->set_result(proto::Redirect::kBothMoved);
    co_return;
  }
  wire::ConnHeader header = header_for(wire::Purpose::kRedirect, *rank, about, about.peer_gen);
  wire::Key key = wire::job_key(node_.config.key, rank->spec.job());
  wire::PortStream port = co_await node_.standby().port(rank->vip, request.acceptor_ip(), request.acceptor_ip(),
                                                        request.acceptor_gen(), place.address, place.port);
  wire::DataStream data = co_await wire::introduce(std::move(port), header, key, kOpenLimit);
  if (data.answer.verdict != wire::Verdict::kOk) co_return;  // it has moved on: its daemon asks again
  if (rank->state != RankState::kRunning) co_return;          // we have: the other daemon sees the end of this socket
  wire::Answer answer;  // by the process, when it has switched; the connection is authenticated already
  answer.gen = rank->generation;
  about.flags = wire::kFlagAnswer;
  memcpy(about.text, &answer, sizeof answer);
  ScopedFd fd = take(data.socket);
  int error = co_await install(rank, about, fd.get());
  if (error == 0) reply->set_result(proto::Redirect::kInstalled);
  else if (error == ENOTCONN) reply->set_result(proto::Redirect::kGone);
  else if (error == ESTALE) node_.refused(wire::Reason::kGeneration, request.acceptor_address());
  else spdlog::info("rank {}: redirection refused by the process: {}", rank->name(), strerror(error));
}

}  // namespace msocket::daemons
