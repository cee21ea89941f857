// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The mirror (paper 5.1): stands in on the old node for a process that has moved, for as long as bytes are under way.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "src/util/ids.h"
#include "src/util/scoped_fd.h"
#include "src/wire/mirror_frame.h"

namespace msocket::mirror {

/// Holds the old ends of a process's connections. Before kGo it touches none of them: they are still the frozen process's,
/// which goes on with them if the move is called off. After kGo it forwards what the peers have sent over the stream to the
/// new process, and ends each old stream towards its peer when the new process says that the peer has switched.
///
/// A process that moves again before its move has drained leaves a chain of mirrors: the stream of the one before (the
/// *upstream*) is handed to the next, which passes it on. What a peer has sent is, in order: what the mirror before gives,
/// then each socket of the connection to its end. Each connection that the process has named is ended exactly once.
class Mirror {
 public:
  explicit Mirror(ScopedFd mailbox) : mailbox_(std::move(mailbox)) {}
  /// Runs to the end; returns the exit status: 0: all delivered, or called off; 1: the new process was lost.
  int run();

 private:
  struct Source {
    ScopedFd fd;
    bool undecided = false;  ///< wire::kUndecided
    bool read_done = false;  ///< the peer's stream has ended
    bool shut = false;       ///< our side towards the peer is shut down
    bool cut = false;        ///< it is reset when the peer has what was written: nobody knows whether that was all
  };
  struct Connection {
    ConnId id;
    bool upstream = false;   ///< the mirror before has still to give its end
    bool ended = false;      ///< its end is on the way to the new process; whatever comes after that is thrown away
    bool switched = false;   ///< the new process says that the peer has the new connection
    std::vector<Source> sources;  ///< in order
  };

  /// Reads the mailbox until kGo. False: called off.
  bool collect();
  bool take(const wire::MailboxRecord& record, ScopedFd fd);
  Connection* find(const ConnId& id);
  void forward();
  static bool readable(const Connection& connection, const Source& source);
  void read_source(Connection& connection, Source& source);
  void decide(Connection& connection, Source& source, short events);
  void read_upstream();
  void upstream_frame();
  void lose_upstream();
  void read_stream();
  void write_stream();
  void write_upstream();
  void frame(wire::Mirror type, const ConnId& id, const char* data = nullptr, size_t length = 0);
  /// Says the connection's end, when all of it has been said.
  void end_if_done(Connection& connection);
  void reset(Connection& connection);
  /// The peer has the new connection: nothing more will be written on any of the old ones.
  void end_old_streams(Connection& connection);
  void tell_upstream(const ConnId& id);
  void lose_process();
  /// Everything that the new process wrote before its move has reached the peer, and the end of it too.
  static bool delivered(int fd);
  /// How the kernel ends the old stream if this process is killed: by a reset, not by an end that looks like the real one.
  static void reset_at_death(int fd, bool on);

  ScopedFd mailbox_, stream_, upstream_;
  std::vector<Connection> connections_;
  std::string out_;            ///< frames not yet taken by the stream
  size_t out_at_ = 0;
  std::string in_;             ///< an incomplete frame from the new process
  std::string up_out_;         ///< what the mirror before has not yet taken
  wire::MirrorFrame up_frame_; ///< the frame that is being read from there
  size_t up_have_ = 0, up_left_ = 0;
  bool process_lost_ = false;
  bool said_all_ = false;
  int delivery_pause_ms_ = 1;
};

}  // namespace msocket::mirror
