// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/connector.h"

#include <errno.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "src/daemons/node.h"
#include "src/transport/channel.h"
#include "src/util/text.h"

namespace msocket::daemons {

namespace {

constexpr Millis kConnectLimit(30000);
constexpr Millis kRedirectLimit(120000);
constexpr Millis kOpenLimit(5000);
constexpr Millis kInstallLimit(60000);
constexpr Millis kMoveLimit(120000);
constexpr Millis kOpenPatience(1000);  // with a rank that stands still: then the opener asks again
constexpr Millis kRetry(5);         // after "moved": the news is on its way
constexpr Millis kRetryError(100);  // after an error
// A node that does not answer this often is taken to be gone, and its ranks with it.
constexpr int kMaxErrors = 100;

wire::ConnHeader header_for(wire::Purpose purpose, const Rank& rank, const wire::ControlRecord& about, Generation to_gen) {
  wire::ConnHeader header;
  header.preamble.purpose = purpose;
  header.conn = about.conn;
  header.from = about.local;
  header.to = about.peer;
  header.from_gen = rank.generation;
  header.to_gen = to_gen;
  strncpy(header.job, rank.spec.job().c_str(), sizeof header.job - 1);
  return header;
}

wire::Answer make_answer(const wire::Caller& caller, const wire::Key& cluster, wire::Verdict verdict, Generation gen) {
  wire::Answer answer;
  answer.verdict = verdict;
  answer.gen = gen;
  answer.tag = wire::make_tag(wire::job_key(cluster, caller.data->job), wire::bytes_of(caller.greeting),
                              wire::bytes_of(*caller.data), wire::before_tag(answer));
  return answer;
}

// On a fresh connection this cannot block. In one step with what follows, so that nothing can come between.
void say(tcp::socket& socket, const wire::Caller& caller, const wire::Key& cluster, wire::Verdict verdict, Generation gen) {
  wire::Answer answer = make_answer(caller, cluster, verdict, gen);
  (void)!::send(socket.native_handle(), &answer, sizeof answer, MSG_NOSIGNAL);
}

// Takes the socket out of the event loop, in blocking mode: from here on it is the process's.
ScopedFd take(tcp::socket& socket) {
  socket.native_non_blocking(false);
  ScopedFd fd(socket.release());
  // The program has not asked for TCP_NODELAY; if it did, the library sets it again.
  int off = 0;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &off, sizeof off);
  return fd;
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
  if (header.preamble.purpose == wire::Purpose::kOpen) co_await accept_open(std::move(socket), caller, rank);
  else co_await accept_redirect(std::move(socket), caller, rank);
}

// What a caller who knows a job's key must not have all the same.
std::optional<wire::Reason> Connector::object_to(const wire::ConnHeader& header, const Rank& rank) const {
  if (rank.spec.job() != header.job) return wire::Reason::kJob;
  auto awaited = awaited_.find({header.conn, header.to});
  if (header.preamble.purpose == wire::Purpose::kRedirect && awaited != awaited_.end() &&
      header.from_gen < awaited->second->record.peer_gen)
    return wire::Reason::kGeneration;
  return std::nullopt;
}

awaitable<void> Connector::accept_open(tcp::socket socket, const wire::Caller& caller, Rank::Ptr rank) {
  auto listener = rank->listeners.find(caller.data->to.port);
  bool open = listener != rank->listeners.end();
  if (open) {
    pollfd p{listener->second.get(), POLLOUT, 0};
    open = poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) && !(p.revents & (POLLHUP | POLLERR));  // else its backlog is full
  }
  say(socket, caller, node_.config.key, open ? wire::Verdict::kOk : wire::Verdict::kRefused, rank->generation);
  if (!open) co_return;
  ScopedFd fd = take(socket);
  wire::AcceptRecord record;
  record.conn = caller.data->conn;
  record.peer = caller.data->from;
  record.peer_gen = caller.data->from_gen;
  int number = fd.get();
  transport::send_record(listener->second.get(), &record, sizeof record, &number, 1);
}

awaitable<void> Connector::accept_redirect(tcp::socket socket, const wire::Caller& caller, Rank::Ptr rank) {
  const wire::ConnHeader& header = *caller.data;
  bool opener_awaits = header.flags & wire::kOpenerAwaits;
  auto it = awaited_.find({header.conn, header.to});
  if (it != awaited_.end()) {
    AwaitedPtr awaited = it->second;
    if (opener_awaits && awaited->stash) {
      // The opener has switched to the stashed one and then moved itself: first that one must be installed here, with what
      // is in it; this one is for later.
      say(socket, caller, node_.config.key, wire::Verdict::kNotYet, rank->generation);
      co_return;
    }
    say(socket, caller, node_.config.key, wire::Verdict::kOk, rank->generation);
    if (!opener_awaits) {
      awaited->stash.emplace(std::move(socket));  // its own end is served first: run_request goes on when it is
      awaited->changed.notify();
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
  socket.native_non_blocking(false);
  int off = 0;
  setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, &off, sizeof off);
  int error = co_await install(rank, about, socket.native_handle());
  if (error == 0) co_return;
  if (error == ESTALE) node_.refused(wire::Reason::kGeneration, address_of(socket));
  spdlog::info("rank {}: redirection refused by the process: {}", rank->name(), strerror(error));
  say(socket, caller, node_.config.key, error == ENOTCONN ? wire::Verdict::kGone : wire::Verdict::kNotYet, rank->generation);
}

awaitable<int> Connector::install(Rank::Ptr rank, wire::ControlRecord about, int fd) {
  about.type = wire::Control::kInstall;
  about.local_gen = rank->generation;
  about.error = fd < 0 ? ENOTCONN : 0;
  ++rank->installing;
  std::vector<int> fds;
  if (fd >= 0) fds.push_back(fd);
  int error = rank->children.empty() ? co_await ask_process(rank, rank->channel, about, fds)
                                     : co_await install_in_family(rank, about, fds);
  --rank->installing;
  rank->changed.notify();
  co_return error;
}

awaitable<int> Connector::ask_process(Rank::Ptr rank, ProcessChannel::Ptr process, wire::ControlRecord about,
                                      std::vector<int> fds) {
  // By number, not by connection: a process that has stood still may answer two of them at once.
  uint64_t number = about.arg0 = ++rank->installs;
  if (process) about.arg1 = process->forks;
  if (!process || !process->send(about, fds)) co_return ENOTCONN;
  auto there = [&] { return process == rank->channel || std::count(rank->children.begin(), rank->children.end(), process); };
  co_await wait_until(rank->changed, kInstallLimit, [&] { return rank->installed.count(number) || rank->exited || !there(); });
  auto it = rank->installed.find(number);
  if (it == rank->installed.end()) co_return ENOTCONN;
  int error = it->second.error;
  rank->installed.erase(it);
  co_return error;
}

awaitable<int> Connector::install_in_family(Rank::Ptr rank, wire::ControlRecord about, std::vector<int> fds) {
  std::vector<ProcessChannel::Ptr> family = rank->children, holders;
  family.insert(family.begin(), rank->channel);
  wire::ControlRecord hold = about;
  hold.type = wire::Control::kHold;
  hold.flags = wire::kFlagHold;
  bool busy = false;
  for (const auto& process : family) {
    int error = co_await ask_process(rank, process, hold, {});
    if (error == 0) holders.push_back(process);
    if (error == EBUSY) busy = true;
  }
  int result = busy ? EBUSY : ENOTCONN;
  if (holders.size() > 1) about.flags |= wire::kFlagShared;
  for (const auto& process : holders) {
    if (result != 0 && result != ENOTCONN) {  // the first has refused: the others go on as they are
      hold.flags = 0;
      co_await ask_process(rank, process, hold, {});
      continue;
    }
    int error = co_await ask_process(rank, process, about, fds);
    if (result != 0) result = error;
    if (error == 0) about.flags &= ~wire::kFlagAnswer;  // said once
  }
  co_return result;
}

void Connector::reconnect_all(const Rank::Ptr& rank) {
  for (const auto& record : rank->reconnects) {
    auto awaited = std::make_shared<Awaited>(node_.io.get_executor());
    awaited->rank = rank;
    awaited->record = record;
    awaited_[{record.conn, record.local}] = awaited;
    bool connector = record.flags & wire::kFlagConnector;
    spawn(
        node_.io.get_executor(),
        [this, awaited, connector]() -> awaitable<void> {
          if (connector) co_await run_reopen(awaited);
          else co_await run_request(awaited);
        },
        [awaited](const std::string& why) { spdlog::error("rank {}: redirection: {}", awaited->rank->name(), why); });
  }
  rank->reconnects.clear();
}

awaitable<void> Connector::finish(AwaitedPtr awaited, int fd, Generation peer_gen) {
  if (awaited->done) co_return;
  awaited->done = true;
  awaited_.erase({awaited->record.conn, awaited->record.local});
  wire::ControlRecord about = awaited->record;
  about.flags = 0;
  if (peer_gen) about.peer_gen = peer_gen;
  int error = co_await install(awaited->rank, about, fd);
  if (error && error != ENOTCONN)
    spdlog::error("rank {}: the process refuses its new connection: {}", awaited->rank->name(), strerror(error));
  awaited->changed.notify();
}

awaitable<void> Connector::run_reopen(AwaitedPtr awaited) {
  const wire::ControlRecord& record = awaited->record;
  auto deadline = Clock::now() + kRedirectLimit;
  int errors = 0, refusals = 0;
  while (!awaited->done && awaited->rank->here() && Clock::now() < deadline) {
    Millis pause = kRetry;
    std::string why;
    try {
      Place place = co_await node_.directory.find(record.peer.ip);
      wire::ConnHeader header = header_for(wire::Purpose::kRedirect, *awaited->rank, record, place.generation);
      header.flags = wire::kOpenerAwaits;
      wire::Key key = wire::job_key(node_.config.key, awaited->rank->spec.job());
      wire::DataStream data =
          co_await wire::open_data(node_.io.get_executor(), place.address, place.port, header, key, kMoveLimit);
      if (data.answer.verdict == wire::Verdict::kOk) {
        ScopedFd fd = take(data.socket);
        co_await finish(awaited, fd.get(), data.answer.gen);
        co_return;
      }
      node_.directory.forget(record.peer.ip);
      if (data.answer.verdict == wire::Verdict::kGone) break;
      if (data.answer.verdict == wire::Verdict::kRefused && ++refusals > 20) break;
    } catch (const std::exception& error) {
      why = error.what();
      node_.directory.forget(record.peer.ip);
      pause = kRetryError;
    }
    if (why == "no such address" || (!why.empty() && ++errors >= kMaxErrors)) {
      spdlog::info("rank {}: peer {}: {}", awaited->rank->name(), ip_text(record.peer.ip), why);
      break;
    }
    co_await sleep_for(pause);
  }
  co_await finish(awaited, -1, 0);
}

awaitable<void> Connector::run_request(AwaitedPtr awaited) {
  const wire::ControlRecord& record = awaited->record;
  auto deadline = Clock::now() + kRedirectLimit;
  int errors = 0;
  while (!awaited->done && awaited->rank->here() && Clock::now() < deadline) {
    Millis pause = kRetry;
    std::string why;
    awaited->stash.reset();  // of an attempt that came to nothing
    try {
      Place place = co_await node_.directory.find(record.peer.ip);
      Link::Ptr link = co_await node_.directory.link_to(place.address, place.port);
      proto::Envelope request;
      auto* redirect = request.mutable_redirect();
      redirect->set_conn_hi(record.conn.hi);
      redirect->set_conn_lo(record.conn.lo);
      redirect->set_connector_ip(record.peer.ip);
      redirect->set_connector_port(record.peer.port);
      redirect->set_acceptor_ip(record.local.ip);
      redirect->set_acceptor_port(record.local.port);
      redirect->set_acceptor_gen(awaited->rank->generation);
      redirect->set_acceptor_node(node_.name());
      redirect->set_acceptor_address(node_.config.node.address);
      redirect->set_acceptor_node_port(node_.port());
      redirect->set_job(awaited->rank->spec.job());
      proto::Envelope reply = co_await link->call(std::move(request), kMoveLimit);
      auto result = reply.redirect().result();
      if (result == proto::Redirect::kInstalled) {
        if (!awaited->stash) {
          spdlog::error("rank {}: told that a connection is there, but it is not", awaited->rank->name());
          break;
        }
        ScopedFd fd = take(*awaited->stash);
        co_await finish(awaited, fd.get(), 0);
        co_return;
      }
      if (result == proto::Redirect::kGone) break;
      if (result == proto::Redirect::kBothMoved) {
        co_await wait_until(awaited->changed, Millis(2000), [&] { return awaited->done; });
        continue;
      }
      awaited->stash.reset();
      node_.directory.forget(record.peer.ip);
    } catch (const std::exception& error) {
      why = error.what();
      node_.directory.forget(record.peer.ip);
      pause = kRetryError;
    }
    if (why == "no such address" || (!why.empty() && ++errors >= kMaxErrors)) {
      spdlog::info("rank {}: peer {}: {}", awaited->rank->name(), ip_text(record.peer.ip), why);
      break;
    }
    co_await sleep_for(pause);
  }
  co_await finish(awaited, -1, 0);
}

awaitable<void> Connector::serve_redirect(proto::Redirect request, proto::Redirect* reply) {
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
  struct Guard {  // not to be frozen until it has the new socket
    Rank::Ptr rank;
    explicit Guard(Rank::Ptr r) : rank(std::move(r)) { ++rank->installing; }
    ~Guard() {
      --rank->installing;
      rank->changed.notify();
    }
  } guard(rank);
  wire::ConnHeader header = header_for(wire::Purpose::kRedirect, *rank, about, about.peer_gen);
  wire::Key key = wire::job_key(node_.config.key, rank->spec.job());
  wire::DataStream data =
      co_await wire::open_data(node_.io.get_executor(), place.address, place.port, header, key, kOpenLimit);
  if (data.answer.verdict != wire::Verdict::kOk) co_return;  // it has moved on: its daemon asks again
  ScopedFd fd = take(data.socket);
  int error = co_await install(rank, about, fd.get());
  if (error == 0) reply->set_result(proto::Redirect::kInstalled);
  else if (error == ENOTCONN) reply->set_result(proto::Redirect::kGone);
  else if (error == ESTALE) node_.refused(wire::Reason::kGeneration, request.acceptor_address());
  else spdlog::info("rank {}: redirection refused by the process: {}", rank->name(), strerror(error));
}

}  // namespace msocket::daemons
