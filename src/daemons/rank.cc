// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/rank.h"

#include "src/daemons/machine.h"

namespace msocket::daemons {

const char* name(RankState state) {
  switch (state) {
    case RankState::kArriving: return "arriving";
    case RankState::kRunning: return "running";
    case RankState::kMoving: return "moving";
    case RankState::kSuspended: return "suspended";
    case RankState::kGone: return "gone";
  }
  return "?";
}

std::string Rank::why_not() const {
  if (suspended) return "it is suspended (msctl resume brings it back)";
  if (said_pid < 0) return "it does not run under msocket (not linked with libmsocket, or not an MPI program yet)";
  if (said_pid != identity.pid) return "it was started by a wrapper that is still running (use exec in the script)";
  return {};
}

proto::RankInfo Rank::info() const {
  proto::RankInfo info;
  Usage usage = process_usage(pid);
  info.set_job(spec.job());
  info.set_rank(spec.rank());
  info.set_pid(pid);
  info.set_vip(vip);
  info.set_generation(generation);
  bool running = state == RankState::kRunning;
  info.set_state(running && busy ? "moving" : running && settling ? "settling" : daemons::name(state));
  info.set_program(program);
  info.set_memory(usage.resident);
  info.set_cpu_seconds(usage.cpu_seconds);
  info.set_cpu_share(cpu_share);
  info.set_why_not(why_not());
  return info;
}

void Rank::notify_home(proto::Envelope notice) const {
  if (home && home->open()) home->notify(std::move(notice));
}

void Rank::tell_exit() const {
  proto::Envelope notice;
  notice.mutable_rank_exited()->set_job(spec.job());
  notice.mutable_rank_exited()->set_rank(spec.rank());
  notice.mutable_rank_exited()->set_wait_status(wait_status);
  notice.mutable_rank_exited()->set_generation(generation);
  notice.mutable_rank_exited()->set_lost(lost);
  notify_home(std::move(notice));
}

}  // namespace msocket::daemons
