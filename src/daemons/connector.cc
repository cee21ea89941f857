// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/connector.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "src/daemons/node.h"
#include "src/transport/channel.h"
#include "src/util/text.h"
#include "src/wire/mirror_frame.h"

namespace msocket::daemons {

namespace {

constexpr Millis kConnectLimit(30000);
constexpr Millis kRedirectLimit(120000);
constexpr Millis kOpenLimit(5000);
constexpr Millis kMoveLimit(120000);
constexpr Millis kForever(1000LL * 3600 * 24 * 365);  // a process may stand still (SIGSTOP) as long as it likes
constexpr Millis kBothMovedPause(50);
constexpr Millis kRetryMost(100);  // "moved" and "not yet" again and again: a rank that is suspended
constexpr uint64_t kMaxHeld = 4096;
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

// Towards a process that may stand still for long: a node that is gone shows all the same.
void watch_for_death(int fd) {
  int on = 1, idle = 10, interval = 5, count = 6;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

void lowest_water(int fd, int bytes) { setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes); }

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
  wire::AcceptRecord record;
  record.conn = caller.data->conn;
  record.peer = caller.data->from;
  record.peer_gen = caller.data->from_gen;
  held.push_back({record, port, take(socket)});
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
  about.error = fd >= 0 ? 0 : about.error ? about.error : ENOTCONN;
  std::vector<int> fds;
  if (fd >= 0) fds.push_back(fd);
  if (rank->children.empty()) co_return co_await ask_process(rank, rank->channel, about, fds);
  co_return co_await install_in_family(rank, about, fds);
}

awaitable<int> Connector::ask_process(Rank::Ptr rank, ProcessChannel::Ptr process, wire::ControlRecord about,
                                      std::vector<int> fds) {
  // By number, not by connection: a process that has stood still may answer two of them at once.
  uint64_t number = about.arg0 = ++rank->installs;
  if (process) about.arg1 = process->forks;
  if (!process || !process->send(about, fds)) co_return ENOTCONN;
  ++rank->asked;
  auto there = [&] { return process == rank->channel || std::count(rank->children.begin(), rank->children.end(), process); };
  co_await wait_until(rank->changed, kForever, [&] { return rank->installed.count(number) || rank->exited || !there(); });
  --rank->asked;
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

awaitable<std::optional<wire::Answer>> Connector::decision(AwaitedPtr awaited, SocketPtr socket) {
  const Rank::Ptr& rank = awaited->rank;
  wire::Answer answer;
  ssize_t n = -1;
  bool broken = false;
  lowest_water(socket->native_handle(), sizeof answer);
  watch_for_death(socket->native_handle());
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

awaitable<void> Connector::watch(AwaitedPtr awaited, SocketPtr socket) {
  std::optional<wire::Answer> answer = co_await decision(awaited, socket);
  if (answer && answer->verdict == wire::Verdict::kOk) {
    ScopedFd fd = take(*socket);
    co_await finish(awaited, fd.get(), answer->gen);
  }
  awaited->changed.notify();
}

void Connector::hand_over(const Rank::Ptr& rank, int mailbox) {
  for (auto& [key, awaited] : awaited_) {
    if (awaited->rank != rank) continue;
    for (auto& socket : awaited->undecided) {
      // The name that the process gives to this end (transport::mirror_name).
      ConnId name = key.first;
      if (awaited->record.peer.ip == rank->vip && !(awaited->record.flags & wire::kFlagConnector)) name.lo ^= 1;
      wire::MailboxRecord record{.type = wire::Mailbox::kConn, .conn = name, .flags = wire::kUndecided};
      int fd = socket->native_handle();
      transport::send_record(mailbox, &record, sizeof record, &fd, 1);
    }
  }
}

void Connector::leave(const Rank::Ptr& rank) {
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

awaitable<void> Connector::finish(AwaitedPtr awaited, int fd, Generation peer_gen, int error) {
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

// The rank may be given something, and may ask for something. False: it has gone, or there is nothing left to do.
awaitable<bool> Connector::may_go_on(AwaitedPtr awaited) {
  const Rank::Ptr& rank = awaited->rank;
  co_await wait_until(rank->changed, kForever, [&] { return awaited->done || rank->state != RankState::kMoving; });
  co_return !awaited->done && rank->here();
}

awaitable<void> Connector::run_reopen(AwaitedPtr awaited) {
  const wire::ControlRecord& record = awaited->record;
  const Rank::Ptr& rank = awaited->rank;
  auto deadline = Clock::now() + kRedirectLimit;  // since the last sign of life
  int errors = 0, refusals = 0, answers = 0;
  while (Clock::now() < deadline) {
    if (!co_await may_go_on(awaited)) co_return;
    Millis pause = std::min(kRetry * (1 << std::min(answers++, 8)), kRetryMost);
    std::string why;
    try {
      Place place = co_await node_.directory.find(record.peer.ip);
      wire::PortStream port = co_await wire::open_port(node_.io.get_executor(), place.address, place.port, kOpenLimit);
      if (awaited->done || rank->state != RankState::kRunning) continue;  // nothing was said yet
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
      if (awaited->done || !rank->here()) co_return;
      if (!answer) throw std::runtime_error("no answer to a redirection");
      wire::Tag expected = wire::make_tag(key, wire::bytes_of(port.greeting), wire::bytes_of(header), wire::before_tag(*answer));
      if (!wire::same_tag(expected, answer->tag)) throw std::runtime_error("the answer does not authenticate");
      if (answer->verdict == wire::Verdict::kOk) {
        ScopedFd fd = take(*socket);
        co_await finish(awaited, fd.get(), answer->gen);
        co_return;
      }
      deadline = Clock::now() + kRedirectLimit;
      node_.directory.forget(record.peer.ip);
      if (answer->verdict == wire::Verdict::kGone) break;
      if (answer->verdict == wire::Verdict::kRefused && ++refusals > 20) break;
    } catch (const std::exception& error) {
      why = error.what();
      node_.directory.forget(record.peer.ip);
      pause = kRetryError;
    }
    if (why == "no such address" || (!why.empty() && ++errors >= kMaxErrors)) {
      spdlog::info("rank {}: peer {}: {}", rank->name(), ip_text(record.peer.ip), why);
      break;
    }
    co_await sleep_for(pause);
  }
  if (co_await may_go_on(awaited)) co_await finish(awaited, -1, 0);
}

awaitable<void> Connector::run_request(AwaitedPtr awaited) {
  const wire::ControlRecord& record = awaited->record;
  const Rank::Ptr& rank = awaited->rank;
  auto deadline = Clock::now() + kRedirectLimit;  // since the last sign of life
  int errors = 0, answers = 0;
  while (Clock::now() < deadline) {
    if (!co_await may_go_on(awaited)) co_return;
    Millis pause = std::min(kRetry * (1 << std::min(answers++, 8)), kRetryMost);
    std::string why;
    try {
      Place place = co_await node_.directory.find(record.peer.ip);
      Link::Ptr link = co_await node_.directory.link_to(place.address, place.port);
      if (awaited->done || rank->state != RankState::kRunning) continue;
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
      deadline = Clock::now() + kRedirectLimit;
      auto result = reply.redirect().result();
      // Whatever the reply says: what the peer has taken says so itself, on the socket (watch()), and comes first.
      auto decided = [&] { return awaited->done || awaited->undecided.empty(); };
      co_await wait_until(awaited->changed, result == proto::Redirect::kInstalled ? kForever : kRetryError, decided);
      if (awaited->done) co_return;
      if (result == proto::Redirect::kGone && decided()) break;
      if (result == proto::Redirect::kBothMoved) pause = kBothMovedPause;
      else node_.directory.forget(record.peer.ip);
    } catch (const std::exception& error) {
      why = error.what();
      node_.directory.forget(record.peer.ip);
      pause = kRetryError;
    }
    if (why == "no such address" || (!why.empty() && ++errors >= kMaxErrors)) {
      spdlog::info("rank {}: peer {}: {}", rank->name(), ip_text(record.peer.ip), why);
      break;
    }
    co_await sleep_for(pause);
  }
  if (co_await may_go_on(awaited)) co_await finish(awaited, -1, 0);
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
  wire::ConnHeader header = header_for(wire::Purpose::kRedirect, *rank, about, about.peer_gen);
  wire::Key key = wire::job_key(node_.config.key, rank->spec.job());
  wire::DataStream data =
      co_await wire::open_data(node_.io.get_executor(), place.address, place.port, header, key, kOpenLimit);
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
