// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <map>
#include <string>

#include "src/daemons/look_report.h"
#include "src/daemons/precopy.h"
#include "src/daemons/rank.h"
#include "src/wire/conn_header.h"

namespace msocket::daemons {

class Node;

/// The source's side of a move (doc/migration.md): prepare, freeze, hand over, commit, drain. Until the commit every failure
/// leads back to a rank that goes on here.
class Mover {
 public:
  explicit Mover(Node& node) : node_(node) {}
  /// Throws std::runtime_error with one line that says why the rank stays (or, after a commit, what was lost).
  /// `limit`: bytes per second while the rank still runs, 0: none. `tell` hears now and then how far that is; it may be empty.
  awaitable<proto::MoveReport> migrate(Rank::Ptr rank, std::string to, uint64_t limit, Precopy::Tell tell);
  /// A dry run (why.cc): fills in every reason against it, or an estimate. Throws only when nobody can tell.
  awaitable<void> why(Rank::Ptr rank, proto::Why* why);
  /// A move whose destination is a file of this node (suspender.cc). The rank stays on the books, its mirror holds its
  /// connections. Throws one line when the rank goes on instead.
  awaitable<proto::Suspend> suspend(Rank::Ptr rank, proto::Suspend request);
  /// A move whose source is that file. Throws one line when the rank stays suspended.
  awaitable<proto::MoveReport> resume(Rank::Ptr rank, proto::Resume request);

 private:
  static constexpr Millis kHandoverLimit{120000}, kDrainWarning{60000};
  struct Fence {
    bool ended = false;  ///< it ran at the destination, and has ended there
    bool committed = false;  ///< the master has the new generation; if not, it never will
    bool alive = false;      ///< and the node that has it
  };
  /// Something that goes on beside the rest of a move.
  struct Aside {
    bool under_way = false;
    std::string why;  ///< it has failed
  };
  struct Move : std::enable_shared_from_this<Move> {
    explicit Move(asio::any_io_executor executor) : changed(executor) {}
    Rank::Ptr rank;
    proto::NodeInfo to;
    Generation generation = 0;  ///< the new one
    Link::Ptr link;
    ScopedFd image, stream;     ///< our end of the image's stream to the new process, and of its mirror's
    ScopedFd mailbox;
    pid_t mirror = -1;
    Aside opening_image, opening_stream, mirror_start;
    Aside tracking;             ///< what the rank writes is being noted, or it is known why not
    Aside standing_by;          ///< the new connections to its peers, as far as they can
    Aside arrival;              ///< the new process begins
    Precopy precopy;
    bool mirror_exited = false, drained = false;
    bool frozen_asked = false;
    bool off = false;           ///< is being called off
    bool resumes = false;       ///< out of a file: there is no process here, and a failure leads back to the file
    std::string lost;           ///< one line: why there is no rank any more; empty: there is
    Clock::time_point started = Clock::now(), freeze_at, stage_at = started;
    proto::MoveReport report;
    std::string program;          ///< what the other side is told to run
    proto::Needs needs;           ///< what a look at the process has found that it needs
    std::map<uint32_t, LookReport::Peer> peers;  ///< and with whom it has connections
    proto::Handover handed_over;  ///< the answer
    Event changed;

    /// A stage is over: notes in the report how long it has taken, since the one before.
    void over(const char* stage) {
      auto now = Clock::now();
      auto* time = report.add_stages();
      time->set_name(stage);
      time->set_ms(std::chrono::duration<double, std::milli>(now - stage_at).count());
      stage_at = now;
    }
    // What fails on the way to the other node names its address; people know it by its name.
    std::string named(const std::string& why) const {
      std::string address = to.address() + ":" + std::to_string(to.port());
      return why.starts_with(address) ? "node " + to.name() + why.substr(address.size()) : why;
    }
  };
  std::shared_ptr<Move> begin(const Rank::Ptr& rank, const std::string& to);
  /// A dry look (why.cc): what cannot move is refused before anything is begun.
  awaitable<void> look_first(Move& move);
  void describe(Move& move, proto::Prepare* prepare);
  static void note_clocks(const Rank& rank, proto::Prepare* prepare);
  awaitable<void> open_stream(Move& move, wire::Purpose purpose, ScopedFd* stream);
  awaitable<void> wait_open(Move& move, const Aside& opening, wire::Purpose purpose, ScopedFd* stream);
  /// Begins it in the loop's next turn, unless the move has been called off by then.
  void beside(Move& move, Aside Move::*aside, std::function<awaitable<void>(Move&)> work);
  /// While the destination makes itself ready.
  void meanwhile(Move& move);
  awaitable<void> start_mirror(Move& move);
  void watch_mirror(Move& move);
  static bool mirror_is_dead(const Move& move);
  void watch_suspended(const Rank::Ptr& rank);
  void back_to_suspended(Move& move);
  static proto::Handover with_held(const Suspended& suspended, Generation generation);
  static void send_held(const Suspended& suspended, int mailbox);
  awaitable<proto::MoveReport> finish(std::shared_ptr<Move> move);
  awaitable<void> prepare(Move& move);
  awaitable<void> prepare_resume(Move& move, const std::string& path);
  /// Most of the memory goes while C runs.
  awaitable<void> precopy(Move& move, uint64_t limit, Precopy::Tell tell);
  /// Hears when the new process has begun, while other things go on.
  void ask_for_arrival(Move& move);
  awaitable<void> wait_for_arrival(Move& move);
  /// Hears when the new connections to its peers stand by (standby.h).
  void ask_for_standby(Move& move);
  awaitable<void> wait_for_standby(Move& move);
  awaitable<void> freeze(Move& move);
  awaitable<void> hand_over(Move& move);
  awaitable<void> commit(Move& move);
  /// Until the old node holds nothing of it any more.
  awaitable<void> drain(std::shared_ptr<Move> move);
  awaitable<void> call_off(Move& move, std::string why);
  /// After a commit without an answer: may it have taken place? With move.lost if the rank is gone with it.
  awaitable<bool> ask_committed(Move& move);
  awaitable<Fence> ask_master(Move& move);
  /// The old process must not run and the new one is gone: the rank ends, and its home hears why.
  awaitable<void> lose(Move& move);
  /// The destination may have been registered for a moment: peers must find the rank here before it goes on.
  awaitable<void> register_again(Move& move);
  awaitable<void> end_mirror(Move& move);

  Node& node_;
};

}  // namespace msocket::daemons
