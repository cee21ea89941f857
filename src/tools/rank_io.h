// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// One rank's streams at its home: descriptors on one side, the link to the rank's present daemon on the other
// (src/wire/streams.h says how nothing is lost between two daemons).
//
//   auto io = std::make_shared<RankIo>(executor, "1", 3, std::move(fds), shared);
//   io->attach(link);                           // as often as the rank moves
//   io->on_data(...); io->on_ack(...);          // from any link, the old one too
//   co_await io->finish(limit);                 // the rank has exited: its last output
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <string>

#include "src/tools/fd_io.h"
#include "src/wire/link.h"
#include "src/wire/streams.h"

namespace msocket {

/// Taken over by whoever gets them. -1: none.
struct RankFds {
  int in = -1, out = -1, err = -1, pmi = -1;
  bool shared_in = false, shared_out = false;  ///< in; out and err: they are also the user's shell's
};

class RankIo : public std::enable_shared_from_this<RankIo> {
 public:
  using Filter = std::function<std::string(std::string_view)>;

  RankIo(asio::any_io_executor executor, std::string job, uint32_t rank, RankFds fds);
  /// What the rank says on its PMI stream goes through `filter`.
  void filter_pmi(Filter filter) { pmi_filter_ = std::move(filter); }
  /// Called when the reader of the rank's stdout or stderr has gone.
  void on_broken_pipe(std::function<void()> handler) { on_broken_pipe_ = std::move(handler); }
  /// Begins to read the input descriptors.
  void start();

  /// The rank is reached by `link` from now on: acknowledges what has arrived, sends again what is not acknowledged.
  void attach(Link::Ptr link);
  /// It is not known how the rank is reached: input waits.
  void detach() { link_.reset(); }
  void on_data(const proto::StreamData& data);
  /// Counts only from the present daemon: a former one may have acknowledged what it could not hand over.
  void on_ack(const Link::Ptr& from, const proto::StreamAck& ack);

  /// Waits until the ends of stdout and stderr have arrived, and all output is written; gives up when nothing arrives for
  /// `limit`. A reader that is slow to take the output (`less`) is waited for.
  awaitable<void> finish(Millis limit);
  /// Closes the descriptors; nothing is read or written after that.
  void close();

 private:
  struct Input {  // home -> rank
    uint32_t stream;
    std::unique_ptr<FdEnd> fd;
    StreamOut out;
    std::unique_ptr<Event> room;
  };
  struct Output {  // rank -> home
    uint32_t stream;
    std::unique_ptr<FdEnd> fd;
    StreamIn in;
    uint64_t written = 0;  // acknowledged up to here
    bool writing = false;
  };

  awaitable<void> read_loop(Input& input);
  awaitable<void> write_loop(Output& output);
  void send(Input& input);
  void send_ack(const Output& output);
  bool quiet() const;
  /// Hydra ends everything at the word that is to follow, also what it has not read yet.
  awaitable<void> let_output_through();

  asio::any_io_executor executor_;
  std::string job_;
  uint32_t rank_;
  bool has_pmi_, closed_ = false;
  Link::Ptr link_;
  std::array<Input, 2> inputs_;    // 0 stdin, 4 PMI
  std::array<Output, 3> outputs_;  // 1 stdout, 2 stderr, 3 PMI
  Filter pmi_filter_;
  std::function<void()> on_broken_pipe_;
  Event progress_;
  Clock::time_point last_arrival_ = Clock::now();
};

}  // namespace msocket
