// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <sys/types.h>

#include <map>
#include <memory>
#include <string>

#include "src/daemons/namespaces.h"
#include "src/daemons/process.h"
#include "src/daemons/rank_streams.h"
#include "src/util/ids.h"
#include "src/wire/link.h"
#include "src/wire/msocket.pb.h"

namespace msocket::daemons {

/// Where a process of ours is in its life on this node.
enum class RankState {
  kArriving,  ///< being filled from another node; it does not run yet
  kRunning,
  kMoving,    ///< asked to freeze, or frozen: nothing may be installed in it until the verdict (it is `busy` for longer)
  kSuspended, ///< in a file; its mirror here holds its connections
  kGone,      ///< moved away or ended
};

/// One of its UDP ports: our descriptor of the same socket, and where that is.
struct DatagramPort {
  ScopedFd fd;
  Endpoint real;
};

/// What this node keeps of a rank that is suspended.
struct Suspended {
  std::string id;             ///< of the image
  proto::Prepare prepare;     ///< generation: the rank's
  proto::Handover handover;
  ScopedFd mailbox;           ///< of its mirror, which has not been told to begin
  pid_t mirror = -1;
  uint32_t connections = 0;
  struct Held {
    wire::AcceptRecord record;
    uint16_t port;
    ScopedFd fd;
  };
  std::vector<Held> held;     ///< connections that its listeners have got meanwhile
};

/// One process that this daemon has started: an MPI rank, or a program under msrun.
struct Rank : std::enable_shared_from_this<Rank> {
  using Ptr = std::shared_ptr<Rank>;
  explicit Rank(asio::any_io_executor executor) : changed(executor) {}

  proto::StartRank spec;      ///< job, rank, argv, env, cwd, pmi, umask
  std::string program;        ///< resolved path
  uint32_t vip = 0;
  Generation generation = 0;
  Generation next_generation = 0;  ///< of the next move; one that was fenced off is not used again
  RankState state = RankState::kRunning;
  bool busy = false;          ///< somebody is moving it away
  bool awaits_home = false;   ///< it has moved here and its home has not asked for it yet
  bool settling = false;      ///< it has moved here and some connections are still on their way
  pid_t pid = -1;             ///< as this host counts
  Identity identity;          ///< pid: as the process itself counts; clocks: what it has more than this host
  bool own_namespaces = false;
  pid_t said_pid = -1;        ///< pid of the process that said hello, as it says; -1: none has
  int wait_status = 0;
  std::string lost;           ///< one line: why it ends, if a move has lost it
  bool exited = false;

  ProcessChannel::Ptr channel;
  std::vector<ProcessChannel::Ptr> children;  ///< of its program's child processes (fork): they may share its connections
  std::shared_ptr<RankStreams> streams;
  std::map<uint16_t, ScopedFd> listeners;  ///< virtual port -> our end of the listener channel
  std::map<uint16_t, DatagramPort> datagrams;  ///< by virtual UDP port
  Link::Ptr home;
  int connecting = 0;         ///< connect() calls of its program that are under way
  size_t asked = 0;           ///< kInstall and kHold without an answer yet
  std::map<uint64_t, wire::ControlRecord> installed;  ///< answers to them, by their number
  uint64_t installs = 0;      ///< the last such number
  std::unique_ptr<wire::ControlRecord> frozen, restored;  ///< as they arrive during a move
  struct Tracked {
    ScopedFd fd;
    int error;
  };
  std::unique_ptr<Tracked> tracked;  ///< its answer to kTrack
  bool tracking = false;      ///< that has been asked
  uint64_t looks = 0, looked = 0;  ///< dry looks that it was asked for, and the last that it has answered
  std::vector<wire::ControlRecord> reconnects;
  std::map<uint16_t, uint64_t> backlogs;            ///< of the listeners
  std::unique_ptr<Suspended> suspended;             ///< while it is, and while it is being resumed
  std::vector<int> held_signals;  ///< came while it stood still: they go with it, or are delivered when the move is called off
  uint64_t refused_records = 0;   ///< from its process, see record_check.h
  double cpu_before = 0, cpu_share = 0;
  Event changed;              ///< state, settling, connecting, installed, exited

  std::string name() const { return spec.job() + ":" + std::to_string(spec.rank()); }
  bool here() const { return state == RankState::kRunning || state == RankState::kMoving || state == RankState::kSuspended; }
  /// Empty, or why it cannot be moved at all.
  std::string why_not() const;
  proto::RankInfo info() const;
  void notify_home(proto::Envelope notice) const;
  /// RankExited to the home.
  void tell_exit() const;
};

const char* name(RankState state);

}  // namespace msocket::daemons
