// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/arrivals.h"

#include <signal.h>
#include <sys/socket.h>
#include <spdlog/spdlog.h>

#include <cstring>
#include <stdexcept>

#include "src/daemons/datagrams.h"
#include "src/daemons/fault.h"
#include "src/daemons/fitness.h"
#include "src/daemons/image_pump.h"
#include "src/daemons/machine.h"
#include "src/daemons/node.h"
#include "src/daemons/redirector.h"
#include "src/daemons/standby.h"
#include "src/util/text.h"

namespace msocket::daemons {

namespace {
constexpr Millis kHelloLimit(15000);
constexpr Millis kFillLimit(110000);
constexpr Millis kHeldLimit(10000);

std::string how_it_ended(int wait_status) {
  if (WIFSIGNALED(wait_status)) return std::string("signal ") + strsignal(WTERMSIG(wait_status));
  return "exit status " + std::to_string(WEXITSTATUS(wait_status));
}
}  // namespace

Arrivals::ArrivalPtr Arrivals::find(uint32_t vip, Generation generation) const {
  auto it = arrivals_.find(vip);
  if (it == arrivals_.end() || it->second->rank->generation != generation)
    throw std::runtime_error("no rank is arriving at node " + node_.name() + " as " + ip_text(vip));
  return it->second;
}

awaitable<void> Arrivals::prepare(Link::Ptr source, proto::Prepare request) {
  // Before anything that takes time: the clocks are to go on from here. They run late by the way of the message, never early.
  Identity identity{static_cast<pid_t>(request.pid()), static_cast<int64_t>(request.monotonic_ns()) - clock_ns(CLOCK_MONOTONIC),
                    static_cast<int64_t>(request.boottime_ns()) - clock_ns(CLOCK_BOOTTIME)};
  fault_point("prepare");
  if (std::vector<std::string> reasons = why_not_here(node_, request); !reasons.empty()) throw std::runtime_error(reasons.front());

  if (!request.image().empty()) {
    proto::ImageHead head = co_await verify_image(node_.io.get_executor(), request.image());
    if (head.id() != request.image_id()) throw std::runtime_error(request.image() + ": is another image now");
  }

  auto arrival = std::make_shared<Arrival>();
  arrival->source = source;
  arrival->image_path = request.image();
  arrival->image_id = request.image_id();
  auto before = outcomes_.find(request.vip());
  bool again = before != outcomes_.end() && before->second.generation == request.generation();  // tried once more
  if (before != outcomes_.end() && (again || before->second.job != request.start().job())) outcomes_.erase(before);
  auto rank = std::make_shared<Rank>(node_.io.get_executor());
  arrival->rank = rank;
  rank->spec = request.start();
  rank->program = request.program();
  rank->identity = identity;
  rank->vip = request.vip();
  rank->generation = request.generation();
  rank->state = RankState::kArriving;
  arrivals_[rank->vip] = arrival;
  node_.ranks[rank->vip] = rank;
  node_.standby().prepare(rank, request.peers());
  // The streams may come, and wait, meanwhile.
  spawn(node_.io.get_executor(), [this, arrival]() -> awaitable<void> { co_await bring_up(arrival); });
}

awaitable<void> Arrivals::bring_up(ArrivalPtr arrival) {
  Rank::Ptr rank = arrival->rank;
  std::string why;
  try {
    co_await node_.launch(rank);
    co_await wait_until(rank->changed, kHelloLimit, [&] { return rank->said_pid > 0 || rank->exited || rank->state == RankState::kGone; });
    if (rank->exited) why = "the program does not start there: " + how_it_ended(rank->wait_status);
    else if (rank->said_pid <= 0) why = "the program does not come under msocket there";
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (rank->state == RankState::kGone) co_return;  // thrown away meanwhile
  if (!why.empty()) {
    discard(arrival, "node " + node_.name() + ": " + why);
    co_return;
  }
  arrival->up = true;
  rank->changed.notify();
  begin_filling(*arrival);
}

awaitable<void> Arrivals::arrived(proto::Arrived request) {
  auto outcome = outcomes_.find(request.vip());
  if (outcome != outcomes_.end() && outcome->second.generation == request.generation() && !outcome->second.why.empty())
    throw std::runtime_error(outcome->second.why);
  ArrivalPtr arrival = find(request.vip(), request.generation());
  co_await wait_until(arrival->rank->changed, kForever, [&] { return arrival->up || arrival->rank->state == RankState::kGone; });
  if (!arrival->up) throw std::runtime_error(arrival->why);
}

awaitable<void> Arrivals::accept(tcp::socket socket, wire::Caller caller) {
  auto it = arrivals_.find(caller.data->to.ip);
  bool ours = it != arrivals_.end() && it->second->rank->spec.job() == caller.data->job;
  bool known = ours && it->second->rank->generation == caller.data->to_gen && !it->second->started;
  if (Rank::Ptr there = node_.find(caller.data->to.ip); !known && there) {
    bool other_job = there->spec.job() != caller.data->job;
    node_.refused(other_job ? wire::Reason::kJob : wire::Reason::kGeneration, address_of(socket));
  }
  ArrivalPtr arrival = known ? it->second : nullptr;
  co_await wire::answer(socket, caller, node_.config.key, known ? wire::Verdict::kOk : wire::Verdict::kRefused, 0);
  if (!known) co_return;
  socket.native_non_blocking(false);
  ScopedFd fd(socket.release());
  if (caller.data->preamble.purpose == wire::Purpose::kImage) arrival->image = std::move(fd);
  else arrival->mirror = std::move(fd);
  begin_filling(*arrival);
}

// Once all that it takes is there.
void Arrivals::begin_filling(Arrival& arrival) {
  bool has_image = arrival.image || !arrival.image_path.empty();
  if (!has_image || !arrival.mirror || !arrival.up || arrival.started) return;
  arrival.started = true;
  if (!arrival.image_path.empty()) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return;  // the source's hand-over is not answered in time
    arrival.image.reset(pair[0]);
    feed_image(arrival.image_path, arrival.image_id, ScopedFd(pair[1]));
  }
  wire::ControlRecord start;
  start.type = wire::Control::kStart;
  start.local = {arrival.rank->vip, 0, 0};
  start.local_gen = arrival.rank->generation;
  start.flags = wire::kFlagRestore | (arrival.rank->own_namespaces ? wire::kFlagNamespaces : 0);
  strncpy(start.text, node_.name().c_str(), 63);
  node_.datagrams().fill_start(*arrival.rank, &start);
  arrival.rank->channel->send(start, {arrival.image.get(), arrival.mirror.get()});
  arrival.image.reset();
  arrival.mirror.reset();
}

awaitable<void> Arrivals::handover(proto::Handover request, proto::Handover* reply) {
  fault_point("handover");
  ArrivalPtr arrival = find(request.vip(), request.generation());
  Rank::Ptr rank = arrival->rank;
  rank->streams->restore(request.streams());
  bool in_time = co_await wait_until(rank->changed, kFillLimit, [&] { return rank->restored || rank->exited; });
  std::string why;
  if (rank->restored && rank->restored->error)
    why = rank->restored->text[0] ? rank->restored->text : strerror(rank->restored->error);
  else if (rank->exited) why = "the new process died while it was filled: " + how_it_ended(rank->wait_status);
  else if (!in_time) why = "the new process was not filled in time";
  if (why.empty()) look_ahead(rank);
  if (why.empty() && request.held_size() > 0) {
    for (const auto& held : request.held()) {
      wire::ControlRecord record;
      record.type = wire::Control::kHeld;
      record.conn = {held.conn_hi(), held.conn_lo()};
      record.local = {rank->vip, static_cast<uint16_t>(held.port()), 0};
      record.peer = {held.peer_ip(), static_cast<uint16_t>(held.peer_port()), 0};
      record.peer_gen = held.peer_gen();
      rank->channel->send(record);
    }
    size_t all = rank->restored->arg0 + request.held_size();
    bool taken = co_await wait_until(rank->changed, kHeldLimit, [&] { return rank->reconnects.size() >= all || rank->exited; });
    if (!taken || rank->exited) why = "the new process does not take the connections that were made meanwhile";
  }
  if (!why.empty()) {
    why = "node " + node_.name() + ": " + why;
    discard(arrival, why);
    throw std::runtime_error(why);
  }
  reply->set_connections(rank->restored->arg0);
  reply->set_bytes(rank->restored->arg1);
  node_.datagrams().list_ports(*rank, reply);
}

// Where its peers are, and links to their daemons: in the cache when the commit is through, and of no consequence without it.
void Arrivals::look_ahead(const Rank::Ptr& rank) {
  std::map<uint32_t, bool> peers;  // whether the peer's daemon will be asked to open the connection
  for (const auto& record : rank->reconnects) peers[record.peer.ip] |= !(record.flags & wire::kFlagConnector);
  for (auto [ip, asked] : peers)
    spawn(node_.io.get_executor(), [this, ip = ip, asked = asked]() -> awaitable<void> {
      Place place = co_await node_.directory.find(ip);
      if (asked) co_await node_.directory.link_to(place.address, place.port);
    });
}

// The commit proper: the master takes the new generation, or has been told never to (Mover::ask_committed).
awaitable<void> Arrivals::register_here(Rank::Ptr rank) {
  proto::Envelope request;
  auto* address = request.mutable_register_address()->mutable_address();
  address->set_vip(rank->vip);
  address->set_generation(rank->generation);
  address->set_node(node_.name());
  address->set_job(rank->spec.job());
  address->set_rank(rank->spec.rank());
  co_await node_.directory.ask_master(rank->vip, std::move(request));
}

awaitable<void> Arrivals::commit(proto::Commit request) {
  fault_point("commit");
  ArrivalPtr arrival = find(request.vip(), request.generation());
  Rank::Ptr rank = arrival->rank;
  if (rank->exited || !rank->restored || child_has_ended(rank->pid))
    throw std::runtime_error("node " + node_.name() + ": the new process is gone");
  arrivals_.erase(rank->vip);  // from here on it is not called off from outside
  std::string why;
  try {
    co_await register_here(rank);
    fault_point("registered");
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (why.empty() && (rank->exited || child_has_ended(rank->pid))) why = "the new process is gone";
  if (!why.empty()) {
    discard(arrival, why);
    proto::Envelope release;  // the master may have taken it all the same; the source registers its own again
    release.mutable_release_address()->set_vip(rank->vip);
    release.mutable_release_address()->set_generation(rank->generation);
    release.mutable_release_address()->set_called_off(true);
    auto told = std::make_shared<proto::Envelope>(std::move(release));
    spawn(node_.io.get_executor(), [this, told, vip = rank->vip]() -> awaitable<void> {
      co_await node_.directory.ask_master(vip, std::move(*told));
    });
    throw std::runtime_error("node " + node_.name() + ": " + why);
  }
  outcomes_[rank->vip] = {rank->spec.job(), rank->generation, true, {}};
  rank->state = RankState::kRunning;
  node_.redirector().expect_all(rank);
  rank->settling = true;
  rank->awaits_home = true;
  wire::ControlRecord resume;
  resume.type = wire::Control::kResume;
  rank->channel->send(resume);
  for (int signo : request.signals()) node_.kill(rank, signo);
  node_.departed.erase(rank->vip);
  node_.start_streams(rank);
  Place here{node_.name(), node_.config.node.address, node_.port(), rank->generation};
  node_.directory.learn(rank->vip, here);
  fault_point("resumed");
  // The source hears first, so that the mirror begins: with hundreds of connections the first steps take milliseconds. Spawned from a
  // post, that is in a turn behind the one in which the answer leaves.
  asio::post(node_.io, [this, rank] {
    spawn(node_.io.get_executor(), [this, rank]() -> awaitable<void> {
      if (Millis late = test_limit("MSOCKET_RECONNECT_LATE_MS", Millis(0)); late.count()) co_await sleep_for(late);
      node_.redirector().reconnect_all(rank);
    });
  });
  rank->changed.notify();
  spawn(node_.io.get_executor(), [this, rank]() -> awaitable<void> { co_await node_.wait_for_home(rank); });
  co_return;
}

void Arrivals::call_off(const proto::CallOff& request) {
  auto it = arrivals_.find(request.vip());
  if (it == arrivals_.end() || it->second->rank->generation != request.generation()) return;
  spdlog::info("rank {} does not come after all: {}", it->second->rank->name(), request.reason());
  discard(it->second, "called off");
}

awaitable<void> Arrivals::ask(proto::AskMigration request, proto::AskMigration* reply) {
  auto it = arrivals_.find(request.vip());
  if (it != arrivals_.end() && it->second->rank->generation == request.generation()) discard(it->second, "given up");
  Rank::Ptr rank = node_.find(request.vip());
  if (rank) co_await node_.wait_settled_place(rank, kFillLimit);  // its registration may be under way
  auto outcome = outcomes_.find(request.vip());
  bool known = outcome != outcomes_.end() && outcome->second.generation >= request.generation();
  reply->set_known(known);
  reply->set_committed(known && outcome->second.committed);
}

void Arrivals::link_closed(const Link::Ptr& link) {
  std::vector<ArrivalPtr> lost;
  for (auto& [vip, arrival] : arrivals_)
    if (arrival->source == link) lost.push_back(arrival);
  for (auto& arrival : lost) discard(arrival, "the link to its node has closed");
}

void Arrivals::discard(const ArrivalPtr& arrival, const std::string& why) {
  Rank::Ptr rank = arrival->rank;
  arrival->why = why;
  auto it = arrivals_.find(rank->vip);
  if (it != arrivals_.end() && it->second == arrival) arrivals_.erase(it);
  outcomes_[rank->vip] = {rank->spec.job(), rank->generation, false, why};
  node_.kill(rank, SIGKILL);
  node_.drop(rank);
}

}  // namespace msocket::daemons
