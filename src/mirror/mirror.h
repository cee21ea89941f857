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
class Mirror {
 public:
  Mirror(ScopedFd mailbox, ScopedFd stream) : mailbox_(std::move(mailbox)), stream_(std::move(stream)) {}
  /// Runs to the end; returns the exit status: 0: all delivered, or called off; 1: the new process was lost.
  int run();

 private:
  struct Connection {
    ConnId id;
    ScopedFd fd;
    bool read_done = false;   ///< the peer's stream has ended and its end is on its way to the new process
    bool half_close = false;  ///< our side towards the peer is shut down
  };

  /// Reads the mailbox until kGo. False: called off.
  bool collect();
  void forward();
  void read_connection(Connection& connection);
  void read_stream();
  void write_stream();
  void frame(wire::Mirror type, const ConnId& id, const char* data, size_t length);
  void end_old_stream(Connection& connection);
  void lose_process();
  /// Everything that the new process wrote before its move has reached the peer, and the end of it too.
  static bool delivered(int fd);
  /// How the kernel ends the old stream if this process is killed: by a reset, not by an end that looks like the real one.
  static void reset_at_death(int fd, bool on);

  ScopedFd mailbox_, stream_;
  std::vector<Connection> connections_;
  std::string out_;          ///< frames not yet taken by the stream
  size_t out_at_ = 0;
  std::string in_;           ///< an incomplete frame from the new process
  bool process_lost_ = false;
  bool said_all_ = false;
};

}  // namespace msocket::mirror
