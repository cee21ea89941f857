// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Data connections, as src/daemons/connector.cc, redirector.cc and installer.cc open, accept and install them.
#include <errno.h>
#include <poll.h>

#include <cstring>

#include "src/wire/mirror_frame.h"
#include "tests/sim/daemon.h"

namespace msocket::sim {

namespace {
constexpr Time kConnectLimit = 30 * kSecond, kRedirectLimit = 120 * kSecond, kOpenLimit = 5 * kSecond,
               kMoveLimit = 120 * kSecond, kOpenPatience = kSecond, kRetry = 5 * kMs, kRetryError = 100 * kMs, kBothMovedPause = 50 * kMs;

wire::ConnHeader header_for(wire::Purpose purpose, const Rank& rank, const wire::ControlRecord& about, Generation to_gen) {
  wire::ConnHeader header;
  header.preamble.purpose = purpose;
  header.conn = about.conn;
  header.from = about.local;
  header.to = about.peer;
  header.from_gen = rank.generation;
  header.to_gen = to_gen;
  return header;
}

void say(const StreamPtr& socket, wire::Verdict verdict, Generation gen) {
  wire::Answer answer;
  answer.verdict = verdict;
  answer.gen = gen;
  socket->write(reinterpret_cast<char*>(&answer), sizeof answer);
}
}  // namespace

StreamPtr Node::open_socket(Place place, const wire::ConnHeader& header) {
  auto [mine, theirs] = make_tcp();
  sim.spawn(place.node->name + " accept", [place, header, socket = std::move(theirs)]() mutable {
    sim.sleep(sim.delay());
    place.node->accept(std::move(socket), header);
  });
  return mine;
}

std::pair<StreamPtr, wire::Answer> Node::open_data(Place place, const wire::ConnHeader& header, Time limit) {
  sim.sleep(sim.delay());
  StreamPtr mine = open_socket(place, header);
  wire::Answer answer;
  char* at = reinterpret_cast<char*>(&answer);
  Time deadline = sim.now + limit;
  for (size_t have = 0; have < sizeof answer;) {
    if (!sim.wait([&] { return mine->events() & POLLIN; }, deadline - sim.now)) return {};
    long n = mine->read(at + have, sizeof answer - have, false);
    if (n <= 0) return {};
    have += static_cast<size_t>(n);
  }
  if (answer.magic != wire::kPortMagic) sim.fail("the first bytes of a connection are not the answer");
  return {mine, answer};
}

void Node::run_connect(RankPtr rank, wire::ControlRecord request) {
  wire::ControlRecord reply = request;
  reply.type = wire::Control::kConnected;
  reply.error = ETIMEDOUT;
  StreamPtr socket;
  Time deadline = sim.now + kConnectLimit;
  int refusals = 0;
  while (sim.now < deadline && rank->here()) {
    auto place = place_of(request.peer.ip);
    if (!place) {
      reply.error = ECONNREFUSED;
      break;
    }
    auto [opened, answer] =
        open_data(*place, header_for(wire::Purpose::kOpen, *rank, request, place->generation), kOpenLimit);
    if (opened && answer.verdict == wire::Verdict::kOk) {
      reply.error = 0;
      reply.peer_gen = answer.gen;
      socket = opened;
      break;
    }
    known_.erase(request.peer.ip);
    if (opened && answer.verdict == wire::Verdict::kRefused && ++refusals > 1) {
      reply.error = ECONNREFUSED;
      break;
    }
    sim.sleep(kRetry);
  }
  if (socket) rank->send(reply, {socket});
  else rank->send(reply);
}

void Node::accept(StreamPtr socket, const wire::ConnHeader& header) {
  RankPtr rank = find(header.to.ip);
  bool open = header.preamble.purpose == wire::Purpose::kOpen;
  auto takes = [&] {  // it cannot stand still as long as it waits in connect() itself
    return open && rank && rank->state == RankState::kMoving && rank->connecting > 0 && !rank->frozen &&
           !sim.planted("connects-block");
  };
  if (rank && !takes()) wait_settled_place(rank, open ? kOpenPatience : kMoveLimit);
  rank = find(header.to.ip);
  if (open && rank && rank->state != RankState::kRunning && rank->state != RankState::kGone && !takes())
    return say(socket, wire::Verdict::kNotYet, 0);
  if (!rank || (rank->state != RankState::kRunning && !takes())) {
    bool moved = departed_.count(header.to.ip) || rank;
    return say(socket, moved ? wire::Verdict::kMoved : wire::Verdict::kRefused, 0);
  }
  if (auto it = awaited_.find({header.conn, header.to});
      !open && it != awaited_.end() && header.from_gen < it->second->record.peer_gen)
    return say(socket, wire::Verdict::kRefused, 0);
  known_.erase(header.from.ip);
  if (open) accept_open(std::move(socket), header, rank);
  else accept_redirect(std::move(socket), header, rank);
}

void Node::accept_open(StreamPtr socket, const wire::ConnHeader& header, RankPtr rank) {
  auto it = rank->listeners.find(header.to.port);
  bool open = it != rank->listeners.end() && (it->second->events() & (POLLOUT | POLLHUP)) == POLLOUT;
  say(socket, open ? wire::Verdict::kOk : wire::Verdict::kRefused, rank->generation);
  if (!open) return;
  wire::AcceptRecord record;
  record.conn = header.conn;
  record.peer = header.from;
  record.peer_gen = header.from_gen;
  it->second->send({std::string(reinterpret_cast<char*>(&record), sizeof record), {socket}});
}

void Node::accept_redirect(StreamPtr socket, const wire::ConnHeader& header, RankPtr rank) {
  bool opener_awaits = header.flags & wire::kOpenerAwaits;
  auto it = awaited_.find({header.conn, header.to});
  if (it != awaited_.end()) {
    AwaitedPtr awaited = it->second;
    if (opener_awaits && !awaited->undecided.empty() && !sim.planted("undecided-ignored")) {
      sim.trace("first decides what it has for connection %08llx", static_cast<unsigned long long>(header.conn.lo & 0xffffffff));
      return say(socket, wire::Verdict::kNotYet, rank->generation);
    }
    say(socket, wire::Verdict::kOk, rank->generation);
    if (opener_awaits) return finish(awaited, socket, header.from_gen);
    awaited->undecided.push_back(socket);
    sim.spawn(name + " watch", [this, awaited, socket] { watch(awaited, socket); });
    return;
  }
  if (!opener_awaits) return say(socket, wire::Verdict::kNotYet, rank->generation);
  wire::ControlRecord about;
  about.conn = header.conn;
  about.local = header.to;
  about.peer = header.from;
  about.peer_gen = header.from_gen;
  about.flags = wire::kFlagAnswer;
  wire::Answer answer;
  answer.verdict = wire::Verdict::kOk;
  answer.gen = rank->generation;
  memcpy(about.text, &answer, sizeof answer);
  if (sim.planted("mover-first")) {  // the answer before the process has switched
    say(socket, wire::Verdict::kOk, rank->generation);
    about.flags = 0;
    sim.sleep(sim.delay());
  }
  int error = install(rank, about, socket);
  if (error) say(socket, error == ENOTCONN ? wire::Verdict::kGone : wire::Verdict::kNotYet, rank->generation);
}

int Node::install(RankPtr rank, wire::ControlRecord about, StreamPtr socket) {
  about.type = wire::Control::kInstall;
  about.local_gen = rank->generation;
  about.error = socket ? 0 : about.error ? about.error : ENOTCONN;
  uint64_t number = about.arg0 = sim.planted("answers-mixed") ? about.conn.lo : ++rank->installs;
  rank->installed.erase(number);
  sim.trace("gives %s connection %08llx%s", rank->process->name.c_str(), static_cast<unsigned long long>(about.conn.lo & 0xffffffff),
            !socket ? ", gone" : about.flags & wire::kFlagAnswer ? ", the peer has moved" : "");
  int error = ENOTCONN;
  std::vector<FilePtr> files;
  if (socket) files.push_back(socket);
  if (rank->send(about, files)) {
    sim.wait([&] { return rank->installed.count(number) || rank->exited; });
    if (auto it = rank->installed.find(number); it != rank->installed.end()) {
      error = it->second.error;
      rank->installed.erase(it);
    }
  }
  sim.trace("%s has taken connection %08llx: %s", rank->process->name.c_str(),
            static_cast<unsigned long long>(about.conn.lo & 0xffffffff), strerror(error));
  return error;
}

std::optional<wire::Answer> Node::decision(AwaitedPtr awaited, StreamPtr socket) {
  const RankPtr& rank = awaited->rank;
  wire::Answer answer;
  auto there = [&] { return socket->in->got.size() >= sizeof answer; };
  sim.wait([&] { return awaited->done || there() || (socket->events() & (POLLRDHUP | POLLERR)); });
  // The daemon may be slow, so that the peer moves on meanwhile.
  bool slow = sim.random.one_in(3);
  if (!awaited->done) sim.sleep(slow ? static_cast<Time>(sim.random.below(600 * kMs)) : sim.delay());
  // Until the rank may take the socket, its mirror may have to.
  sim.wait([&] { return awaited->done || rank->state != RankState::kMoving; });
  std::erase(awaited->undecided, socket);
  if (!there() && (socket->events() & POLLERR) && !awaited->done && rank->here())
    finish(awaited, nullptr, 0, ECONNRESET);
  if (!there() || awaited->done || !rank->here()) return std::nullopt;
  for (size_t have = 0; have < sizeof answer;)
    have += static_cast<size_t>(socket->read(reinterpret_cast<char*>(&answer) + have, sizeof answer - have, false));
  if (answer.magic != wire::kPortMagic) sim.fail("the first bytes of a redirection are not the answer");
  return answer;
}

void Node::watch(AwaitedPtr awaited, StreamPtr socket) {
  auto answer = decision(awaited, socket);
  if (answer && answer->verdict == wire::Verdict::kOk) finish(awaited, socket, answer->gen);
}

bool Node::may_go_on(const AwaitedPtr& awaited) {
  const RankPtr& rank = awaited->rank;
  sim.wait([&] { return awaited->done || rank->state != RankState::kMoving; });
  return !awaited->done && rank->here();
}

void Node::hand_over_undecided(const RankPtr& rank, const PacketsPtr& mailbox) {
  for (auto& [key, awaited] : awaited_) {
    if (awaited->rank != rank || sim.planted("undecided-dropped")) continue;
    for (auto& socket : awaited->undecided) {
      ConnId id = key.first;
      if (awaited->record.peer.ip == rank->vip && !(awaited->record.flags & wire::kFlagConnector)) id.lo ^= 1;
      wire::MailboxRecord record{.type = wire::Mailbox::kConn, .conn = id, .flags = wire::kUndecided};
      mailbox->send({std::string(reinterpret_cast<char*>(&record), sizeof record), {socket}});
      ++counts.undecided;
    }
  }
}

void Node::leave(const RankPtr& rank) {
  std::erase_if(awaited_, [&](auto& entry) {
    if (entry.second->rank != rank) return false;
    entry.second->done = true;
    for (auto& socket : entry.second->undecided) reset_when_closed(*socket);
    entry.second->undecided.clear();  // the mirror has it
    return true;
  });
}

void Node::reconnect_all(const RankPtr& rank) {
  for (const auto& record : rank->reconnects) {
    auto awaited = std::make_shared<Awaited>();
    awaited->rank = rank;
    awaited->record = record;
    awaited_[{record.conn, record.local}] = awaited;
    bool connector = record.flags & wire::kFlagConnector;
    sim.spawn(name + (connector ? " reopen" : " request"), [this, awaited, connector] {
      if (connector) run_reopen(awaited);
      else run_request(awaited);
    });
  }
  rank->reconnects.clear();
}

void Node::finish(AwaitedPtr awaited, StreamPtr socket, Generation peer_gen, int error) {
  if (awaited->done) return;
  awaited->done = true;
  awaited_.erase({awaited->record.conn, awaited->record.local});
  wire::ControlRecord about = awaited->record;
  about.flags = 0;
  about.error = error;
  awaited->undecided.clear();  // asked for twice
  if (peer_gen) about.peer_gen = peer_gen;
  int refused = install(awaited->rank, about, socket);
  if (refused && refused != ENOTCONN) sim.fail("%s refuses its new connection: %s", awaited->rank->process->name.c_str(), strerror(refused));
}

void Node::run_reopen(AwaitedPtr awaited) {
  const wire::ControlRecord& record = awaited->record;
  Time deadline = sim.now + kRedirectLimit;
  int refusals = 0;
  while (sim.now < deadline) {
    if (!may_go_on(awaited)) return;
    auto place = place_of(record.peer.ip);
    if (!place) break;
    sim.sleep(sim.delay());
    if (awaited->done || awaited->rank->state != RankState::kRunning) continue;  // nothing was said yet
    wire::ConnHeader header = header_for(wire::Purpose::kRedirect, *awaited->rank, record, place->generation);
    header.flags = wire::kOpenerAwaits;
    StreamPtr socket = open_socket(*place, header);
    awaited->undecided.push_back(socket);
    auto answer = decision(awaited, socket);
    if (awaited->done || !awaited->rank->here()) return;
    if (answer && answer->verdict == wire::Verdict::kOk) return finish(awaited, socket, answer->gen);
    known_.erase(record.peer.ip);
    if (answer) {
      deadline = sim.now + kRedirectLimit;
      if (answer->verdict == wire::Verdict::kGone) break;
      if (answer->verdict == wire::Verdict::kRefused && ++refusals > 20) break;
    }
    sim.sleep(answer ? kRetry : kRetryError);
  }
  if (may_go_on(awaited)) finish(awaited, nullptr, 0);
}

void Node::run_request(AwaitedPtr awaited) {
  const wire::ControlRecord& record = awaited->record;
  Time deadline = sim.now + kRedirectLimit;
  while (sim.now < deadline) {
    if (!may_go_on(awaited)) return;
    auto place = place_of(record.peer.ip);
    if (!place) break;
    sim.sleep(sim.delay());
    if (awaited->done || awaited->rank->state != RankState::kRunning) continue;
    Redirect result = place->node->serve_redirect(record, {this, awaited->rank->generation});
    // The link between daemons may lag behind a whole move.
    sim.sleep(sim.random.one_in(6) ? static_cast<Time>(sim.random.below(600 * kMs)) : sim.delay());
    deadline = sim.now + kRedirectLimit;
    // Whatever the reply says: what the peer has taken says so itself, on the socket, and comes first.
    auto decided = [&] { return awaited->done || awaited->undecided.empty(); };
    sim.wait(decided, result == Redirect::kInstalled ? -1 : kRetryError);
    if (awaited->done) return;
    if (result == Redirect::kGone && decided()) break;
    if (result == Redirect::kBothMoved) ++counts.both_moved;
    else known_.erase(record.peer.ip);
    sim.sleep(result == Redirect::kBothMoved ? kBothMovedPause : kRetry);
  }
  if (may_go_on(awaited)) finish(awaited, nullptr, 0);
}

Node::Redirect Node::serve_redirect(const wire::ControlRecord& request, Place acceptor) {
  RankPtr rank = find(request.peer.ip);
  if (rank) wait_settled_place(rank, kMoveLimit);
  rank = find(request.peer.ip);
  if (!rank || rank->state != RankState::kRunning) return Redirect::kMoved;
  known_[request.local.ip] = acceptor;
  wire::ControlRecord about;
  about.conn = request.conn;
  about.local = request.peer;
  about.peer = request.local;
  about.peer_gen = acceptor.generation;
  if (awaited_.count({about.conn, about.local})) return Redirect::kBothMoved;
  auto [socket, answer] =
      open_data(acceptor, header_for(wire::Purpose::kRedirect, *rank, about, about.peer_gen), kOpenLimit);
  if (!socket || answer.verdict != wire::Verdict::kOk) return Redirect::kMoved;
  if (rank->state != RankState::kRunning) return Redirect::kMoved;  // the other daemon sees the end of this socket
  wire::Answer switched;  // by the process
  switched.verdict = wire::Verdict::kOk;
  switched.gen = rank->generation;
  memcpy(about.text, &switched, sizeof switched);
  about.flags = wire::kFlagAnswer;
  if (sim.planted("mover-first")) {  // the answer before the process has switched
    say(socket, wire::Verdict::kOk, rank->generation);
    about.flags = 0;
    sim.sleep(sim.delay());
  }
  int error = install(rank, about, socket);
  return error == 0 ? Redirect::kInstalled : error == ENOTCONN ? Redirect::kGone : Redirect::kMoved;
}

}  // namespace msocket::sim
