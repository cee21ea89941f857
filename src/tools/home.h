// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The end of a job on the user's side (mpiexec, msrun): starts ranks on the nodes' daemons, carries their streams, signals
// and exit statuses, and follows them when they move. The daemons kill the ranks of a home whose link closes.
//
//   Home home(executor, config);
//   co_await home.open_job();
//   co_await home.start(spec, std::move(fds), "b", [](int wait_status, const std::string& why) { ... });
//   co_await home.wait_all();
//
// A rank that moves: the old daemon says RankMoved at the commit; the home attaches at the new daemon and sends again
// what is not acknowledged. Where the notice gets lost (the old daemon died right then), the link's end is the sign, and
// the master knows where the rank is. A newer generation wins always. Not thread-safe.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "src/tools/cluster.h"
#include "src/tools/rank_io.h"

namespace msocket {

class Home {
 public:
  /// `wait_status` as of waitpid(2); `why` is a line for the user when the rank was lost, else empty.
  using OnExit = std::function<void(int wait_status, const std::string& why)>;

  Home(asio::any_io_executor executor, Config config);
  ~Home();

  Cluster& cluster() { return cluster_; }
  const std::string& job() const { return job_; }
  /// A new job number from the master; needed before start().
  awaitable<void> open_job();
  /// Programs that are started one by one talk to each other: all of them are ranks of one job. Returns this one's number.
  static constexpr const char* kSharedJob = "run";
  awaitable<uint32_t> join_shared_job();

  /// `spec`: rank, argv, env, cwd, umask, pmi, wanted_vip; the rest is filled in. `filter`: see RankIo::filter_pmi.
  /// Throws std::runtime_error with the daemon's reason; `on_exit` is not called then.
  awaitable<void> start(proto::StartRank spec, RankFds fds, std::string node, OnExit on_exit,
                        RankIo::Filter pmi_filter);
  /// A rank that moves just now gets it when it has arrived.
  void signal(uint32_t rank, int signo);
  void kill_all();
  /// Waits no longer for ranks whose daemon is gone and that have not been found elsewhere, with a line for each: once the job is
  /// at its end anyway. Nobody is called.
  void give_up_lost();
  /// The job has failed: a line for each node whose daemon has gone under a rank, if that was not said already. That rank may have been
  /// found elsewhere; what it lost there may all the same be why its peers gave up.
  void say_lost_nodes();
  /// Waits until no rank is left. False: the limit has passed.
  awaitable<bool> wait_all(Millis limit = Millis(1000LL * 3600 * 24 * 365));
  size_t ranks() const { return ranks_.size(); }

 private:
  struct Rank {
    uint32_t number = 0;
    std::string node;
    uint32_t generation = 0;
    Link::Ptr link;            // none: on the way to another node, or lost
    std::shared_ptr<RankIo> io;
    OnExit on_exit;
    std::vector<int> signals;  // to be sent when there is a link
    bool started = false, exited = false, recovering = false;
    uint32_t reported = 0;     // the generation of the last report in the timeline
  };
  using RankPtr = std::shared_ptr<Rank>;

  void on_notice(const Link::Ptr& from, const proto::Envelope& notice);
  void on_closed(const Link::Ptr& link);
  void on_moved(const proto::RankMoved& moved);
  void on_exited(const proto::RankExited& exited);
  /// Attaches at the daemon there; false: it does not answer or does not have the rank.
  awaitable<bool> attach(RankPtr rank, std::string address, uint16_t port, uint32_t generation);
  /// The rank's daemon is gone: is the rank elsewhere?
  awaitable<void> recover(RankPtr rank);
  /// `why`: as for OnExit. `output`: how long to wait for more of it.
  awaitable<void> finish(RankPtr rank, int wait_status, std::string why, Millis output);
  void start_recovery(const RankPtr& rank);
  void send_signal(Rank& rank, int signo);
  RankPtr find(const std::string& job, uint32_t rank);

  asio::any_io_executor executor_;
  Cluster cluster_;
  std::string job_;
  std::map<uint32_t, RankPtr> ranks_;
  std::set<std::string> lost_nodes_;  ///< of which nothing was said yet
  Event changed_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for handlers that outlive this object
};

}  // namespace msocket
