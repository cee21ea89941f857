// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/node.h"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cstring>
#include <stdexcept>
#include <utility>

#include "src/daemons/arrivals.h"
#include "src/daemons/connector.h"
#include "src/daemons/datagrams.h"
#include "src/daemons/machine.h"
#include "src/daemons/mover.h"
#include "src/daemons/record_check.h"
#include "src/daemons/redirector.h"
#include "src/daemons/spawner.h"
#include "src/daemons/standby.h"
#include "src/util/text.h"

namespace msocket::daemons {

namespace {
constexpr Millis kSampleEvery(1000);

bool replaced(const std::string& entry) {
  for (const char* name : {"MSOCKET_CONTROL=", "MPICH_INTERFACE_HOSTNAME=", "PMI_FD=", "PMI_PORT="})
    if (entry.starts_with(name)) return true;
  return false;
}

std::vector<std::string> zero_separated(const std::string& path) {
  std::vector<std::string> parts;
  if (auto text = read_file(path)) {
    parts = split(*text, '\0');
    if (!parts.empty()) parts.pop_back();
  }
  return parts;
}
}  // namespace

Node::Node(asio::io_context& io_context, const Config& given, const std::string& listen_address)
    : io(io_context),
      config(given),
      placement(given.node.bind),
      directory(io_context, given),
      server_(std::make_shared<PortServer>(io_context.get_executor(), listen_address, given.node.port, given.key)),
      child_signal_(io_context, SIGCHLD),
      connector_(std::make_unique<Connector>(*this)),
      redirector_(std::make_unique<Redirector>(*this)),
      mover_(std::make_unique<Mover>(*this)),
      arrivals_(std::make_unique<Arrivals>(*this)),
      datagrams_(std::make_unique<Datagrams>(*this)),
      standby_(std::make_unique<Standby>(*this)) {}

Node::~Node() = default;

void Node::start() {
  auto on_request = [this](Link::Ptr link, proto::Envelope request, proto::Envelope& reply) -> awaitable<void> {
    return serve(link, std::move(request), reply);
  };
  auto on_note = [this](Link::Ptr link, const proto::Envelope& notice) { on_notice(link, notice); };
  server_->start(
      [=, this](Link::Ptr link) { link->start(on_request, on_note, [this](Link::Ptr closed) { on_link_closed(closed); }); },
      [this](tcp::socket socket, wire::Caller caller) { return on_data(std::move(socket), caller); });
  directory.start(
      [this](const Subnet& subnet) {
        proto::RegisterNode request;
        *request.mutable_node() = describe();
        for (auto& [vip, rank] : ranks) {
          if (!rank->here() || (vip & (~uint32_t{0} << (32 - subnet.bits))) != subnet.network) continue;
          auto* address = request.add_addresses();
          address->set_vip(vip);
          address->set_generation(rank->generation);
          address->set_node(name());
          address->set_job(rank->spec.job());
          address->set_rank(rank->spec.rank());
        }
        return request;
      },
      on_request, on_note);
  spawn(io.get_executor(), [this]() -> awaitable<void> { co_await reap_loop(); });
  spawn(io.get_executor(), [this]() -> awaitable<void> { co_await sample_loop(); });
}

awaitable<void> Node::on_data(tcp::socket socket, wire::Caller caller) {
  switch (caller.data->preamble.purpose) {
    case wire::Purpose::kImage:
    case wire::Purpose::kMirror: co_await arrivals_->accept(std::move(socket), caller); break;
    case wire::Purpose::kStandby:
      if (std::optional<wire::Caller> next = co_await standby_->park(socket, caller)) co_await connector_->accept(std::move(socket), *next);
      break;
    default: co_await connector_->accept(std::move(socket), caller);
  }
}

proto::NodeInfo Node::describe() const {
  proto::NodeInfo info;
  info.set_name(name());
  info.set_address(config.node.address);
  info.set_port(port());
  info.set_cores(placement.cores());
  info.set_slots(config.node.slots);
  info.set_memory_total(memory_total());
  info.set_memory_free(memory_free());
  info.set_load(load_average());
  info.set_ranks(ranks.size());
  info.set_topology(placement.summary());
  return info;
}

Rank::Ptr Node::find(uint32_t vip) const {
  auto it = ranks.find(vip);
  return it == ranks.end() ? nullptr : it->second;
}

Rank::Ptr Node::find(const std::string& job, uint32_t rank) const {
  for (auto& [vip, candidate] : ranks)
    if (candidate->spec.job() == job && candidate->spec.rank() == rank) return candidate;
  return nullptr;
}

void Node::check_room() const {
  if (config.node.slots && ranks.size() >= config.node.slots)
    throw std::runtime_error("node " + name() + " has no room: " + std::to_string(ranks.size()) + " of " +
                             std::to_string(config.node.slots) + " slots are taken");
}

// One that arrives is to be who it was; what the host does not allow it has anew.
awaitable<void> Node::start_process(Rank::Ptr rank, SpawnSpec& spec) {
  spec.identity = rank->identity;
  if (rank->identity.pid > 0 && can_have_pid(rank->identity.pid)) spec.namespaces = namespaces_here().kind;
  Spawned spawned;
  if (spec.namespaces != NamespaceKind::kNone) {
    try {
      spawned = co_await daemons::start_process(io.get_executor(), spec);
    } catch (const std::exception& error) {
      spdlog::warn("rank {}: no namespaces of its own: {}", rank->name(), error.what());
      spec.namespaces = NamespaceKind::kNone;
    }
  }
  if (spawned.pid < 0) spawned = co_await daemons::start_process(io.get_executor(), spec);
  rank->pid = spawned.pid;
  rank->own_namespaces = spawned.init > 0;
  if (!rank->own_namespaces) rank->identity = {.pid = rank->pid};
  else watch(spawned.init, {});
}

awaitable<void> Node::launch(Rank::Ptr rank) {
  rank->streams = std::make_shared<RankStreams>(io.get_executor(), rank->spec.pmi());
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    throw std::runtime_error("no descriptors left for a rank's control channel");
  rank->channel = std::make_shared<ProcessChannel>(io.get_executor(), ScopedFd(pair[0]));
  ScopedFd theirs(pair[1]);
  SpawnSpec spec;
  spec.program = rank->program;
  spec.argv.assign(rank->spec.argv().begin(), rank->spec.argv().end());
  for (const auto& entry : rank->spec.env())
    if (!replaced(entry)) spec.env.push_back(entry);
  spec.env.push_back("MSOCKET_CONTROL=" + std::to_string(wire::kControlFd));
  spec.env.push_back("MPICH_INTERFACE_HOSTNAME=" + ip_text(rank->vip));
  if (rank->spec.pmi()) spec.env.push_back("PMI_FD=" + std::to_string(wire::kPmiFd));
  spec.cwd = rank->spec.cwd();
  spec.umask = rank->spec.umask();
  spec.cpus = placement.take(rank->vip);
  spec.fixed_addresses = true;
  spec.fds = rank->streams->child_fds();
  spec.fds.emplace_back(theirs.get(), wire::kControlFd);
  std::string why;
  try {
    co_await start_process(rank, spec);
  } catch (const std::exception& error) {
    why = error.what();
  }
  bool dropped = rank->state == RankState::kGone;
  if (!why.empty()) {
    if (!dropped) placement.give_back(rank->vip);
    throw std::runtime_error(why);
  }
  rank->streams->child_started();
  std::weak_ptr<Rank> weak = rank;
  watch(rank->pid, [this, weak](int status) {
    if (auto r = weak.lock()) on_exit(r, status);
  });
  asio::post(io, [this] { reap(); });  // it may have ended before anybody watched it
  if (dropped) {
    ::kill(rank->pid, SIGKILL);
    throw std::runtime_error("called off");
  }
  rank->channel->start(
      [this, weak](const wire::ControlRecord& record, std::vector<ScopedFd> fds) {
        if (auto r = weak.lock()) on_record(r, r->channel, record, std::move(fds));
      },
      {});
}

void Node::start_streams(const Rank::Ptr& rank) {
  std::weak_ptr<Rank> weak = rank;
  rank->streams->start([weak](proto::Envelope envelope) {
    auto r = weak.lock();
    if (!r) return;
    if (envelope.has_stream_data()) {
      envelope.mutable_stream_data()->set_job(r->spec.job());
      envelope.mutable_stream_data()->set_rank(r->spec.rank());
    } else {
      envelope.mutable_stream_ack()->set_job(r->spec.job());
      envelope.mutable_stream_ack()->set_rank(r->spec.rank());
    }
    r->notify_home(std::move(envelope));
  });
}

void Node::add_child(const Rank::Ptr& rank, const ProcessChannel::Ptr& parent, ScopedFd fd) {
  auto channel = std::make_shared<ProcessChannel>(io.get_executor(), std::move(fd));
  channel->forks = ++parent->forks;
  rank->children.push_back(channel);
  std::weak_ptr<Rank> weak = rank;
  std::weak_ptr<ProcessChannel> weak_channel = channel;
  channel->start(
      [this, weak, weak_channel](const wire::ControlRecord& record, std::vector<ScopedFd> fds) {
        auto r = weak.lock();
        auto c = weak_channel.lock();
        if (r && c) on_record(r, c, record, std::move(fds));
      },
      [weak, weak_channel] {
        auto r = weak.lock();
        auto c = weak_channel.lock();
        if (!r || !c) return;
        std::erase(r->children, c);
        c->close();
        r->changed.notify();
      });
}

void Node::on_record(const Rank::Ptr& rank, const ProcessChannel::Ptr& from, const wire::ControlRecord& record,
                     std::vector<ScopedFd> fds) {
  RecordBooks books{.listeners = rank->listeners.size(), .reconnects = rank->reconnects.size(),
                    .answers = rank->installed.size(), .connecting = static_cast<size_t>(rank->connecting),
                    .arriving = rank->state == RankState::kArriving, .tracking = rank->tracking && from == rank->channel,
                    .installing = rank->asked > 0};
  if (const char* why = why_not_taken(record, fds.size(), books)) {
    if (rank->refused_records++ == 0)  // one line, however many it sends
      spdlog::warn("rank {}: record {} is not taken: {}", rank->name(), static_cast<int>(record.type), why);
    return;
  }
  switch (record.type) {
    case wire::Control::kHello:
      if (from == rank->channel) on_hello(rank, record);
      break;
    case wire::Control::kFork:
      if (fds.size() == 1) add_child(rank, from, std::move(fds[0]));
      break;
    case wire::Control::kListen:
      fcntl(fds[0].get(), F_SETFL, O_NONBLOCK);
      rank->listeners[record.local.port] = std::move(fds[0]);
      rank->backlogs[record.local.port] = record.arg0;
      break;
    case wire::Control::kUnlisten:
      // A child may still listen there: then the end of the channel says when nobody does.
      if (rank->children.empty()) rank->listeners.erase(record.local.port);
      break;
    case wire::Control::kConnect: connector_->connect(rank, from, record); break;
    case wire::Control::kInstalled: rank->installed[record.arg0] = record; break;
    case wire::Control::kFrozen: rank->frozen = std::make_unique<wire::ControlRecord>(record); break;
    case wire::Control::kTracked:
      rank->tracked = std::make_unique<Rank::Tracked>(fds.empty() ? ScopedFd() : std::move(fds[0]), record.error);
      break;
    case wire::Control::kLooked: rank->looked = record.arg0; break;
    case wire::Control::kReconnect: rank->reconnects.push_back(record); break;
    case wire::Control::kRestored: rank->restored = std::make_unique<wire::ControlRecord>(record); break;
    case wire::Control::kUdpBind:
    case wire::Control::kUdpUnbind:
    case wire::Control::kUdpLookup: datagrams_->on_record(rank, record, std::move(fds)); break;
    case wire::Control::kSettled:
      rank->settling = false;
      standby_->drop(rank->vip, rank->generation);
      break;
    default: break;  // why_not_taken has seen to it
  }
  rank->changed.notify();
}

void Node::on_hello(const Rank::Ptr& rank, const wire::ControlRecord& hello) {
  rank->said_pid = static_cast<pid_t>(hello.arg0);
  if (rank->state == RankState::kArriving) return;  // src/daemons/arrivals.cc waits for it
  // A script may have exec'ed the program proper: that is what a new place must run.
  std::string program = rank->said_pid == rank->identity.pid ? program_of(rank->pid) : "";
  if (!program.empty() && program != rank->program) {
    rank->program = program;
    std::string proc = "/proc/" + std::to_string(rank->pid);
    auto argv = zero_separated(proc + "/cmdline"), env = zero_separated(proc + "/environ");
    rank->spec.mutable_argv()->Assign(argv.begin(), argv.end());
    rank->spec.mutable_env()->Assign(env.begin(), env.end());
  }
  if (hello.flags & wire::kFlagExec) return;
  wire::ControlRecord start;
  start.type = wire::Control::kStart;
  start.local = {rank->vip, 0, 0};
  start.local_gen = rank->generation;
  strncpy(start.text, name().c_str(), 63);
  datagrams_->fill_start(*rank, &start);
  rank->channel->send(start);
}

void Node::on_exit(const Rank::Ptr& rank, int wait_status) {
  rank->exited = true;
  rank->wait_status = wait_status;
  rank->changed.notify();
  if (rank->state == RankState::kRunning) ended(rank);  // else mover.cc and arrivals.cc see to it
}

void Node::ended(const Rank::Ptr& rank) {
  int wait_status = rank->wait_status;
  rank->state = RankState::kGone;
  spdlog::info("rank {} has ended, status {:#x}", rank->name(), wait_status);
  rank->streams->finish();
  rank->tell_exit();
  datagrams_->ended(*rank);
  spawn(io.get_executor(), [this, rank]() -> awaitable<void> {
    // Its last output may still wait for room in the home's window (`mpiexec ... | less`), or for the home to find it here.
    auto told = [&] { return rank->home ? rank->streams->drained() : !rank->awaits_home; };
    while (!told()) co_await wait_until(rank->changed, Millis(60000), told);
    proto::Envelope request;
    request.mutable_release_address()->set_vip(rank->vip);
    request.mutable_release_address()->set_generation(rank->generation);
    drop(rank);
    co_await directory.ask_master(rank->vip, std::move(request));
  });
}

void Node::drop(const Rank::Ptr& rank) {
  rank->state = RankState::kGone;
  auto it = ranks.find(rank->vip);
  bool replaced = it != ranks.end() && it->second != rank;  // resumed on this node: the cores are the new one's
  if (it != ranks.end() && !replaced) ranks.erase(it);
  if (!replaced) placement.give_back(rank->vip);
  if (rank->channel) rank->channel->close();
  for (auto& child : std::exchange(rank->children, {})) child->close();
  if (rank->streams) rank->streams->close();
  rank->listeners.clear();
  rank->datagrams.clear();
  datagrams_->dropped(*rank);
  standby_->drop(rank->vip, rank->generation);
  rank->home = nullptr;
  rank->changed.notify();
}

void Node::kill(const Rank::Ptr& rank, int signo) {
  if (rank->state == RankState::kSuspended && signo == SIGKILL) {
    spdlog::info("rank {} ends while it is suspended", rank->name());
    rank->suspended.reset();  // its mirror sees the end of its mailbox, and its peers that of their connections
    rank->wait_status = SIGKILL;
    rank->state = RankState::kGone;
    asio::post(io, [this, rank] { ended(rank); });  // the caller may be looking through `ranks`
    return;
  }
  if (rank->suspended && signo == SIGKILL) rank->held_signals.push_back(signo);  // it is being resumed
  // The child is not reaped before on_exit, so its number cannot have been given to somebody else.
  if (rank->exited || rank->pid <= 0) return;
  if (signo == SIGKILL || signo == SIGTERM || signo == SIGINT || signo == SIGHUP) ::kill(-rank->pid, signo);
  else ::kill(rank->pid, signo);
}

awaitable<bool> Node::wait_settled_place(Rank::Ptr rank, Millis limit) {
  co_return co_await wait_until(rank->changed, limit, [&] {
    return rank->state != RankState::kArriving && rank->state != RankState::kMoving;
  });
}

awaitable<void> Node::reap_loop() {
  for (;;) {
    co_await child_signal_.async_wait(use_awaitable);
    reap();
  }
}

void Node::reap() {
  std::vector<pid_t> pids;
  for (auto& [pid, on_exit] : children_) pids.push_back(pid);
  for (pid_t pid : pids) {
    int status = 0;
    if (waitpid(pid, &status, WNOHANG) != pid) continue;
    auto on_exit = std::move(children_[pid]);
    children_.erase(pid);
    if (on_exit) on_exit(status);
  }
}

awaitable<void> Node::sample_loop() {
  auto last = Clock::now();
  for (;;) {
    co_await sleep_for(kSampleEvery);
    auto now = Clock::now();
    double seconds = std::chrono::duration<double>(now - last).count();
    last = now;
    for (auto& [vip, rank] : ranks) {
      double used = process_usage(rank->pid).cpu_seconds;
      rank->cpu_share = rank->cpu_before > 0 ? (used - rank->cpu_before) / seconds : 0;
      rank->cpu_before = used;
    }
  }
}

}  // namespace msocket::daemons
