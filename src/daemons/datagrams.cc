// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/datagrams.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <cstring>
#include <stdexcept>

#include "src/daemons/node.h"
#include "src/util/text.h"
#include "src/wire/datagram.h"

namespace msocket::daemons {

namespace {
constexpr Millis kFresh(2000);        // a process that asks again later than this has a reason to doubt
constexpr Millis kResolveLimit(3000);
constexpr Millis kCallLimit(1000);
constexpr Millis kRetry(5);
constexpr Millis kRetryError(100);
constexpr Millis kForwardLimit(1000);  // for everybody to hear of the move
constexpr Millis kForwardLast(50);     // for what was on the way when the last of them had heard
constexpr int kMaxEmpty = 64;  // a socket that is shut down for reading gives empty ones without end
constexpr size_t kMaxCached = 4096;
constexpr Millis kForgetAfter(60000);
}  // namespace

struct Datagrams::Forwarding {
  explicit Forwarding(asio::any_io_executor executor) : changed(executor) {}
  std::vector<std::shared_ptr<asio::posix::stream_descriptor>> sockets;
  int running = 0;   ///< of forward()
  int untold = 0;    ///< daemons that have not confirmed
  bool stop = false, done = false;
  Event changed;
};

void Datagrams::fill_start(const Rank& rank, wire::ControlRecord* start) const {
  wire::Key key = wire::derive_key(wire::job_key(node_.config.key, rank.spec.job()), "udp");
  memcpy(start->text + wire::kUdpKeyAt, key.data(), wire::kDatagramKeyLength);
  start->peer = {parse_ip(node_.config.node.address).value_or(0), 0, 0};
}

void Datagrams::on_record(const Rank::Ptr& rank, const wire::ControlRecord& record, std::vector<ScopedFd> fds) {
  if (record.type == wire::Control::kUdpLookup) {
    spawn(
        node_.io.get_executor(), [this, rank, to = record.peer]() -> awaitable<void> { co_await answer(rank, to); },
        [rank](const std::string& why) { spdlog::error("rank {}: UDP: {}", rank->name(), why); });
    return;
  }
  if (record.type == wire::Control::kUdpUnbind) rank->datagrams.erase(record.local.port);
  else if (fds.size() == 1) rank->datagrams[record.local.port] = {std::move(fds[0]), record.peer};
  if (rank->state == RankState::kRunning) changed(*rank, record.local.port);
}

Datagrams::EntryPtr Datagrams::entry_of(const Port& port, const std::string& job) {
  if (cache_.size() > kMaxCached)
    std::erase_if(cache_, [now = Clock::now()](const auto& item) {
      return !item.second->asking && now - item.second->when > kForgetAfter;
    });
  EntryPtr& entry = cache_[port];
  if (!entry) entry = std::make_shared<Entry>(node_.io.get_executor());
  if (entry->job != job) {  // the address has gone to another job, or never was of this one
    entry->when = {};
    entry->generation = 0;
    entry->job = job;
  }
  return entry;
}

awaitable<void> Datagrams::answer(Rank::Ptr rank, Endpoint to) {
  Port port{to.ip, to.port};
  EntryPtr entry = entry_of(port, rank->spec.job());
  entry->askers.insert(rank->vip);
  // That nobody is there is not kept: the process asks seldom enough, and hears at once when somebody has come.
  if (entry->error || Clock::now() - entry->when > kFresh) co_await resolve(port, entry);
  wire::ControlRecord record;
  record.type = wire::Control::kUdpPlace;
  record.peer = to;
  record.local = entry->real;
  record.peer_gen = entry->generation;
  record.error = entry->error;
  if (rank->channel && rank->here()) rank->channel->try_send(record);
}

awaitable<void> Datagrams::resolve(Port port, EntryPtr entry) {
  if (entry->asking) {
    co_await wait_until(entry->changed, kResolveLimit, [&] { return !entry->asking; });
    co_return;
  }
  entry->asking = true;
  unsigned version = entry->version;
  proto::UdpLookup reply;
  int error = EHOSTUNREACH, failures = 0;
  auto deadline = Clock::now() + kResolveLimit;
  while (error == EHOSTUNREACH && Clock::now() < deadline) {
    std::string why;
    Millis pause = kRetry;
    try {
      Place place = co_await node_.directory.find(port.first);
      proto::Envelope request;
      auto* lookup = request.mutable_udp_lookup();
      lookup->set_vip(port.first);
      lookup->set_port(port.second);
      lookup->set_job(entry->job);
      if (place.address == node_.config.node.address && place.port == node_.port()) {
        serve_lookup(*lookup, &reply);
      } else {
        lookup->set_asker_address(node_.config.node.address);
        lookup->set_asker_port(node_.port());
        Link::Ptr link = co_await node_.directory.link_to(place.address, place.port);
        proto::Envelope answer = co_await link->call(std::move(request), kCallLimit);
        reply = answer.udp_lookup();
      }
      if (reply.result() == proto::UdpLookup::kFound) error = 0;
      else if (reply.result() == proto::UdpLookup::kNoPort) error = ECONNREFUSED;
      else node_.directory.forget(port.first);
      if (reply.result() == proto::UdpLookup::kNobody && ++failures > 1) break;
    } catch (const std::exception& exception) {
      why = exception.what();
      node_.directory.forget(port.first);
      pause = kRetryError;
    }
    if (why == "no such address" || (!why.empty() && ++failures > 5)) break;
    if (error == EHOSTUNREACH) co_await sleep_for(pause);
  }
  entry->asking = false;
  // A notice may have overtaken the answer: then it knows better, unless the answer is of a later generation still.
  if (entry->version == version || (!error && reply.generation() >= entry->generation)) {
    entry->error = error;
    entry->real = {reply.place().ip(), static_cast<uint16_t>(reply.place().real_port())};
    entry->generation = reply.generation();
    entry->when = Clock::now();
    ++entry->version;
  }
  entry->changed.notify();
}

void Datagrams::serve_lookup(const proto::UdpLookup& request, proto::UdpLookup* reply) {
  Rank::Ptr rank = node_.find(request.vip());
  auto left = node_.departed.find(request.vip());
  if (!rank || !rank->here() || (left != node_.departed.end() && left->second.generation > rank->generation)) {
    bool elsewhere = left != node_.departed.end() || (rank && rank->state == RankState::kArriving);
    reply->set_result(elsewhere ? proto::UdpLookup::kMoved : proto::UdpLookup::kNobody);
    return;
  }
  if (rank->spec.job() != request.job()) {  // as if it were not there
    reply->set_result(proto::UdpLookup::kNobody);
    return;
  }
  if (request.asker_port()) askers_[rank->vip].emplace(request.asker_address(), request.asker_port());
  reply->set_generation(rank->generation);
  auto it = rank->datagrams.find(static_cast<uint16_t>(request.port()));
  reply->set_result(it == rank->datagrams.end() ? proto::UdpLookup::kNoPort : proto::UdpLookup::kFound);
  if (it == rank->datagrams.end()) return;
  reply->mutable_place()->set_ip(it->second.real.ip);
  reply->mutable_place()->set_real_port(it->second.real.port);
}

void Datagrams::tell(const Port& port, const EntryPtr& entry) {
  wire::ControlRecord record;
  record.type = wire::Control::kUdpPlace;
  record.peer = {port.first, port.second, 0};
  record.local = entry->real;
  record.peer_gen = entry->generation;
  record.error = entry->error;
  std::erase_if(entry->askers, [&](uint32_t vip) {
    Rank::Ptr rank = node_.find(vip);
    if (!rank || rank->spec.job() != entry->job) return true;
    // One that stands still does not heed it, and forgets all places before it goes on. One whose move is just being called
    // off runs already.
    if (rank->here() && rank->channel) rank->channel->try_send(record);
    return false;
  });
}

awaitable<void> Datagrams::serve_moved(proto::UdpMoved notice) {
  bool ended = notice.address().empty();
  if (ended) node_.directory.forget(notice.vip());
  else
    node_.directory.learn(notice.vip(), {notice.node(), notice.address(), static_cast<uint16_t>(notice.node_port()),
                                         notice.generation()});
  std::vector<std::pair<Port, EntryPtr>> touched;
  for (auto it = cache_.lower_bound({notice.vip(), 0}); it != cache_.end() && it->first.first == notice.vip(); ++it) {
    auto& [port, entry] = *it;
    if (entry->job != notice.job() || entry->generation > notice.generation()) continue;
    const proto::UdpPort* place = nullptr;
    for (auto& candidate : notice.ports())
      if (candidate.port() == port.second) place = &candidate;
    if (!place && !notice.complete()) continue;
    bool open = place && place->real_port();
    entry->real = open ? Endpoint{place->ip(), static_cast<uint16_t>(place->real_port())} : Endpoint{};
    entry->error = open ? 0 : ECONNREFUSED;
    entry->generation = notice.generation();
    entry->when = Clock::now();
    ++entry->version;
    touched.emplace_back(port, entry);
  }
  for (auto& [port, entry] : touched) tell(port, entry);
  // Whoever asks the new node is told of the next move by it.
  if (notice.complete() && !ended && !touched.empty()) co_await resolve(touched.front().first, touched.front().second);
}

proto::UdpMoved Datagrams::notice_of(const Rank& rank, const Place& place) const {
  proto::UdpMoved notice;
  notice.set_vip(rank.vip);
  notice.set_job(rank.spec.job());
  notice.set_generation(place.generation);
  notice.set_node(place.node);
  notice.set_address(place.address);
  notice.set_node_port(place.port);
  return notice;
}

awaitable<void> Datagrams::tell_asker(Asker asker, proto::UdpMoved notice) {
  Link::Ptr link = co_await node_.directory.link_to(asker.first, asker.second);
  proto::Envelope request;
  *request.mutable_udp_moved() = std::move(notice);
  co_await link->call(std::move(request), kForwardLimit);
}

// A port was opened or closed while others may have asked for it.
void Datagrams::changed(const Rank& rank, uint16_t port) {
  Place here{node_.name(), node_.config.node.address, node_.port(), rank.generation};
  auto notice = std::make_shared<proto::UdpMoved>(notice_of(rank, here));
  auto* place = notice->add_ports();
  place->set_port(port);
  if (auto it = rank.datagrams.find(port); it != rank.datagrams.end()) {
    place->set_ip(it->second.real.ip);
    place->set_real_port(it->second.real.port);
  }
  spawn(node_.io.get_executor(), [this, notice]() -> awaitable<void> { co_await serve_moved(*notice); });
  for (const Asker& asker : askers_[rank.vip])
    spawn(node_.io.get_executor(), [this, asker, notice]() -> awaitable<void> { co_await tell_asker(asker, *notice); });
}

// A new process of that address may begin elsewhere at once: nobody is to go on sending to where this one was.
void Datagrams::ended(const Rank& rank) {
  if (rank.datagrams.empty()) return;
  auto notice = std::make_shared<proto::UdpMoved>(notice_of(rank, Place{{}, {}, 0, rank.generation}));
  notice->set_complete(true);
  spawn(node_.io.get_executor(), [this, notice]() -> awaitable<void> { co_await serve_moved(*notice); });
  for (const Asker& asker : askers_[rank.vip])
    spawn(node_.io.get_executor(), [this, asker, notice]() -> awaitable<void> { co_await tell_asker(asker, *notice); });
}

void Datagrams::list_ports(const Rank& rank, proto::Handover* reply) const {
  for (auto& [port, datagram] : rank.datagrams) {
    auto* place = reply->add_datagrams();
    place->set_port(port);
    place->set_ip(datagram.real.ip);
    place->set_real_port(datagram.real.port);
  }
}

void Datagrams::moved_away(const Rank::Ptr& rank, const Place& to, const proto::Handover& ports) {
  auto all = std::make_shared<Forwarding>(node_.io.get_executor());
  auto notice = std::make_shared<proto::UdpMoved>(notice_of(*rank, to));
  notice->set_complete(true);
  *notice->mutable_ports() = ports.datagrams();
  std::set<Asker> askers = std::move(askers_[rank->vip]);
  askers_.erase(rank->vip);
  for (auto& place : ports.datagrams()) {
    auto it = rank->datagrams.find(static_cast<uint16_t>(place.port()));
    if (it == rank->datagrams.end()) continue;
    auto fd = std::make_shared<ScopedFd>(std::move(it->second.fd));
    Endpoint real{place.ip(), static_cast<uint16_t>(place.real_port())};
    ++all->running;
    spawn(
        node_.io.get_executor(),
        [this, all, fd, real]() -> awaitable<void> { co_await forward(all, std::move(*fd), real); },
        [rank](const std::string& why) { spdlog::warn("rank {}: UDP: {}", rank->name(), why); });
  }
  rank->datagrams.clear();
  forwarding_[rank->vip] = all;
  spawn(node_.io.get_executor(), [this, all, askers, notice, vip = rank->vip]() -> awaitable<void> {
    co_await run_forwarding(all, askers, *notice);
    auto it = forwarding_.find(vip);
    if (it != forwarding_.end() && it->second == all) forwarding_.erase(it);
  });
}

awaitable<void> Datagrams::run_forwarding(std::shared_ptr<Forwarding> all, std::set<Asker> askers, proto::UdpMoved notice) {
  auto told = [all](const std::string&) {
    --all->untold;
    all->changed.notify();
  };
  auto copy = std::make_shared<proto::UdpMoved>(std::move(notice));
  all->untold = static_cast<int>(askers.size()) + 1;
  spawn(
      node_.io.get_executor(),
      [this, copy, told]() -> awaitable<void> {
        co_await serve_moved(*copy);  // this node's own processes
        told({});
      },
      told);
  for (const Asker& asker : askers)
    spawn(
        node_.io.get_executor(),
        [this, asker, copy, told]() -> awaitable<void> {
          co_await tell_asker(asker, *copy);
          told({});
        },
        told);
  co_await wait_until(all->changed, kForwardLimit, [&] { return all->untold == 0; });
  if (all->running) co_await sleep_for(kForwardLast);
  all->stop = true;
  for (auto& socket : all->sockets) {
    boost::system::error_code ignored;
    socket->cancel(ignored);
  }
  co_await wait_until(all->changed, kForwardLimit, [&] { return all->running == 0; });
  all->done = true;
  all->changed.notify();
}

awaitable<void> Datagrams::forward(std::shared_ptr<Forwarding> all, ScopedFd fd, Endpoint to) {
  struct Guard {
    std::shared_ptr<Forwarding> all;
    ~Guard() {
      --all->running;
      all->changed.notify();
    }
  } guard{all};
  // Of its own: the old one may be shut down for writing.
  ScopedFd out(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(to.ip);
  in.sin_port = htons(to.port);
  auto socket = std::make_shared<asio::posix::stream_descriptor>(node_.io.get_executor(), fd.release());
  all->sockets.push_back(socket);
  std::vector<char> buffer(wire::kMaxDatagram + 1);
  for (int empty = 0; empty < kMaxEmpty;) {
    ssize_t n = recv(socket->native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    empty = n == 0 ? empty + 1 : 0;
    if (n >= 0) {
      // It stays valid: its header names virtual addresses. Whatever else came here is seen through by the receiver.
      if (n > 0) (void)!sendto(out.get(), buffer.data(), n, MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&in), sizeof in);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN || all->stop) break;
    boost::system::error_code ended;
    co_await socket->async_wait(asio::posix::stream_descriptor::wait_read, asio::redirect_error(use_awaitable, ended));
  }
  boost::system::error_code ignored;
  socket->close(ignored);
}

awaitable<void> Datagrams::wait_forwarded(uint32_t vip) {
  auto it = forwarding_.find(vip);
  if (it == forwarding_.end()) co_return;
  std::shared_ptr<Forwarding> all = it->second;
  co_await wait_until(all->changed, 4 * kForwardLimit, [&] { return all->done; });
}

void Datagrams::dropped(const Rank& rank) {
  // A new process of the address, arriving or begun, has its own place in the table already.
  Rank::Ptr now = node_.find(rank.vip);
  if (!now || now.get() == &rank) askers_.erase(rank.vip);
}

}  // namespace msocket::daemons
