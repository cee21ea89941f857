// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A rank's standard streams and its PMI stream: plain pipes (a socket pair for PMI) between the rank and this daemon, byte
// offsets and acknowledgements between the daemon and the rank's home (src/wire/streams.h). At a move the old daemon
// empties the pipes and the new one goes on from there, so that no byte is lost, repeated or out of order.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "src/util/scoped_fd.h"
#include "src/wire/async.h"
#include "src/wire/msocket.pb.h"
#include "src/wire/streams.h"

namespace msocket::daemons {

class RankStreams : public std::enable_shared_from_this<RankStreams> {
 public:
  enum Stream { kIn = 0, kOut = 1, kErr = 2, kPmiOut = 3, kPmiIn = 4, kStreams = 5 };
  /// Sends StreamData (with job and rank filled in by the owner) or StreamAck towards the home.
  using Send = std::function<void(proto::Envelope)>;

  RankStreams(asio::any_io_executor executor, bool pmi);
  /// The rank's ends, for the spawner: (ours, the child's number).
  std::vector<std::pair<int, int>> child_fds() const;
  /// After the child has been started: closes its ends here (but for the copies that a move needs).
  void child_started();
  void start(Send send);

  void on_data(const proto::StreamData& data);
  void on_ack(const proto::StreamAck& ack);
  /// A new home, or the old one again: what it has not acknowledged is sent once more.
  void home_changed();

  /// The rank stands still: everything that it wrote is taken in, and what it has not read yet is copied, not consumed.
  /// From here on nothing is read, written or acknowledged until resume() (called off) or close() (committed).
  std::vector<proto::StreamState> snapshot();
  void resume();
  /// Before start(), in the new place.
  void restore(const google::protobuf::RepeatedPtrField<proto::StreamState>& states);
  /// The rank has ended: takes in what is left and ends the output streams.
  void finish();
  bool drained() const;
  void close();

 private:
  awaitable<void> read_loop(int stream);
  awaitable<void> write_loop(int stream);
  void read_available(int stream);
  void empty_pipe(int stream);
  void flush(int stream);
  void acknowledge(int stream);

  asio::any_io_executor executor_;
  bool pmi_;
  bool closed_ = false;
  bool finished_ = false;
  bool paused_ = false;
  std::array<ScopedFd, 4> child_;                 // the rank's ends, by its number; 0 and 3 are kept for snapshot()
  asio::posix::stream_descriptor in_, out_, err_, pmi_end_;
  std::array<StreamOut, kStreams> outgoing_;      // kOut, kErr, kPmiOut
  std::array<StreamIn, kStreams> incoming_;       // kIn, kPmiIn
  std::array<std::string, kStreams> unwritten_;   // taken from incoming_, not yet in the pipe
  Event changed_;
  Send send_;
};

}  // namespace msocket::daemons
