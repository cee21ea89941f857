// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/standby.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "src/daemons/data_socket.h"
#include "src/daemons/node.h"
#include "src/util/text.h"

namespace msocket::daemons {

namespace {
constexpr Millis kPrepareLimit(5000);
constexpr Millis kServeLimit(5000);
constexpr uint32_t kAtOnce = 16;         // the other daemon's queue of those that have not said who they are is not to be filled
constexpr size_t kMostAccepted = 4096;   // for one move

bool alive(tcp::socket& socket) {
  char byte;
  return socket.is_open() && recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

// The kernel gives the lowest number that is free: a high one says that few are left, and others need them more.
bool affordable(tcp::socket& socket) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<rlim_t>(socket.native_handle()) < limit.rlim_cur / 2;
}

void close(tcp::socket& socket) {
  boost::system::error_code ignored;
  socket.close(ignored);
}
}  // namespace

// ---- the node to which a rank moves

void Standby::prepare(const Rank::Ptr& rank, const google::protobuf::RepeatedPtrField<proto::PeerConnections>& peers) {
  auto state = std::make_shared<Preparing>(node_.io.get_executor());
  preparing_[{rank->vip, rank->generation}] = state;
  for (const auto& peer : peers) {
    if (peer.ip() == rank->vip) continue;  // with itself: both ends move
    ++state->running;
    auto over = [state] {
      --state->running;
      state->changed.notify();
    };
    spawn(
        node_.io.get_executor(),
        [this, rank, peer, state, over]() -> awaitable<void> {
          co_await prepare_peer(rank, peer, state);
          over();
        },
        [rank, peer, over](const std::string& why) {
          spdlog::info("rank {}: no connection to {} stands by: {}", rank->name(), ip_text(peer.ip()), why);
          over();
        });
  }
}

awaitable<void> Standby::prepare_peer(Rank::Ptr rank, proto::PeerConnections peer, PreparingPtr state) {
  Place place = co_await node_.directory.find(peer.ip());
  if (peer.opened()) {
    Pair pair{rank->vip, peer.ip(), rank->generation, place.generation, true, rank->spec.job(), place.address, place.port};
    state->ready += co_await open(pair, peer.opened());
  }
  if (!peer.accepted()) co_return;
  Link::Ptr link = co_await node_.directory.link_to(place.address, place.port);
  proto::Envelope request;
  auto* standby = request.mutable_standby();
  standby->set_connector_ip(peer.ip());
  standby->set_acceptor_ip(rank->vip);
  standby->set_acceptor_gen(rank->generation);
  standby->set_job(rank->spec.job());
  standby->set_address(node_.config.node.address);
  standby->set_port(node_.port());
  standby->set_count(peer.accepted());
  proto::Envelope reply = co_await link->call(std::move(request), kServeLimit);
  state->ready += reply.standby().count();
}

awaitable<uint32_t> Standby::wait_prepared(uint32_t vip, Generation generation) {
  auto it = preparing_.find({vip, generation});
  if (it == preparing_.end()) co_return 0;
  PreparingPtr state = it->second;
  co_await wait_until(state->changed, kPrepareLimit, [&] { return state->running == 0; });
  co_return state->ready;
}

void Standby::drop(uint32_t moved, Generation generation) {
  Move move{moved, generation};
  preparing_.erase(move);
  for (auto it = opened_.lower_bound({move, 0, 0}); it != opened_.end() && std::get<Move>(it->first) == move; it = opened_.erase(it))
    for (auto& parked : it->second) close(parked->stream.socket);
  auto accepted = accepted_.extract(move);
  if (!accepted) return;
  for (tcp::socket* socket : accepted.mapped()) close(*socket);  // park() sees that
}

// ---- the side that opens

awaitable<void> Standby::serve(proto::Standby request, proto::Standby* reply) {
  Rank::Ptr rank = node_.find(request.connector_ip());
  if (!rank || !rank->here() || rank->spec.job() != request.job()) co_return;
  Pair pair{rank->vip, request.acceptor_ip(), rank->generation, request.acceptor_gen(), false, request.job(), request.address(),
            static_cast<uint16_t>(request.port())};
  reply->set_count(co_await open(pair, request.count()));
}

awaitable<uint32_t> Standby::open(Pair pair, uint32_t count) {
  struct State {
    explicit State(asio::any_io_executor executor) : changed(executor) {}
    uint32_t left, running, ready = 0;
    Event changed;
  };
  auto state = std::make_shared<State>(node_.io.get_executor());
  state->left = std::min(count, kMost);
  state->running = std::min(state->left, kAtOnce);
  for (uint32_t i = state->running; i; --i) {
    auto over = [state] {
      --state->running;
      state->changed.notify();
    };
    spawn(
        node_.io.get_executor(),
        [this, pair, state, over]() -> awaitable<void> {
          while (state->left) {
            --state->left;
            co_await open_one(pair);
            ++state->ready;
          }
          over();
        },
        [state, pair, over](const std::string& why) {
          spdlog::debug("standby from {} to {}: {}", ip_text(pair.from), ip_text(pair.to), why);
          state->left = 0;  // what one was refused the others are, too
          over();
        });
  }
  co_await wait_until(state->changed, kForever, [&] { return state->running == 0; });
  co_return state->ready;
}

awaitable<void> Standby::open_one(Pair pair) {
  wire::ConnHeader header;
  header.preamble.purpose = wire::Purpose::kStandby;
  header.from = {pair.from, 0, 0};
  header.to = {pair.to, 0, 0};
  header.from_gen = pair.from_gen;
  header.to_gen = pair.to_gen;
  header.flags = pair.from_moves ? wire::kOpenerAwaits : 0;
  strncpy(header.job, pair.job.c_str(), sizeof header.job - 1);
  wire::Key key = wire::job_key(node_.config.key, pair.job);
  wire::DataStream data = co_await wire::open_data(node_.io.get_executor(), pair.address, pair.port, header, key, kOpenLimit);
  if (data.answer.verdict != wire::Verdict::kOk) throw std::runtime_error("refused");
  if (!affordable(data.socket)) throw std::runtime_error("few descriptors are left");
  if (pair.from_moves && !preparing_.count(pair.move())) throw std::runtime_error("too late");
  watch_for_death(data.socket);
  auto parked = std::make_shared<Parked>(Parked{{std::move(data.socket), data.greeting}, pair.address, pair.port});
  Key where{pair.move(), pair.from, pair.to};
  opened_[where].push_back(parked);
  spawn(node_.io.get_executor(), [this, where, parked]() -> awaitable<void> { co_await watch(where, parked); });
}

// The other side has dropped it.
awaitable<void> Standby::watch(Key key, ParkedPtr parked) {
  boost::system::error_code error;
  co_await parked->stream.socket.async_wait(tcp::socket::wait_read, asio::redirect_error(use_awaitable, error));
  auto all = opened_.find(key);
  if (all == opened_.end() || !std::erase(all->second, parked)) co_return;  // it is in use, or closed
  close(parked->stream.socket);
  if (all->second.empty()) opened_.erase(all);
}

awaitable<wire::PortStream> Standby::port(uint32_t from, uint32_t to, uint32_t moved, Generation generation, std::string address,
                                          uint16_t port) {
  for (Key key{{moved, generation}, from, to};;) {
    auto all = opened_.find(key);
    if (all == opened_.end()) break;
    ParkedPtr parked = all->second.back();
    all->second.pop_back();
    if (all->second.empty()) opened_.erase(all);
    tcp::socket& socket = parked->stream.socket;
    boost::system::error_code ignored;
    socket.cancel(ignored);  // watch() ends
    if (parked->address == address && parked->port == port && alive(socket)) co_return std::move(parked->stream);
    close(socket);
  }
  co_return co_await wire::open_port(node_.io.get_executor(), address, port, kOpenLimit);
}

// ---- the side that accepts

awaitable<std::optional<wire::Caller>> Standby::park(tcp::socket& socket, const wire::Caller& caller) {
  const wire::ConnHeader& header = *caller.data;
  bool opener_moves = header.flags & wire::kOpenerAwaits;
  Move move = opener_moves ? Move{header.from.ip, header.from_gen} : Move{header.to.ip, header.to_gen};
  Rank::Ptr rank = node_.find(header.to.ip);
  if (rank && rank->spec.job() != header.job) {
    node_.refused(wire::Reason::kJob, address_of(socket));
    rank = nullptr;
  }
  bool good = rank && (opener_moves ? rank->here() : rank->state == RankState::kArriving && rank->generation == header.to_gen);
  if (rank && !opener_moves && header.to_gen < rank->generation) node_.refused(wire::Reason::kGeneration, address_of(socket));
  auto so_far = accepted_.find(move);
  if (good) good = affordable(socket) && (so_far == accepted_.end() || so_far->second.size() < kMostAccepted);
  say(socket, caller, node_.config.key, good ? wire::Verdict::kOk : wire::Verdict::kRefused, good ? rank->generation : 0);
  if (!good) co_return std::nullopt;
  watch_for_death(socket);
  accepted_[move].insert(&socket);
  std::optional<wire::Caller> next = co_await node_.greeted_again(socket, caller);
  auto all = accepted_.find(move);
  if (all != accepted_.end()) {
    all->second.erase(&socket);
    if (all->second.empty()) accepted_.erase(all);
  }
  co_return next;
}

}  // namespace msocket::daemons
