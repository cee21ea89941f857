// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/installer.h"

#include <errno.h>

#include <algorithm>

namespace msocket::daemons {

namespace {

// Sends one kHold or kInstall to one process and waits for its answer, however long that stands still (SIGSTOP).
awaitable<int> ask_process(Rank::Ptr rank, ProcessChannel::Ptr process, wire::ControlRecord about, std::vector<int> fds) {
  // By number, not by connection: a process that has stood still may answer two of them at once.
  uint64_t number = about.arg0 = ++rank->installs;
  if (process) about.arg1 = process->forks;
  if (!process || !process->send(about, fds)) co_return ENOTCONN;
  ++rank->asked;
  auto there = [&] { return process == rank->channel || std::count(rank->children.begin(), rank->children.end(), process); };
  co_await wait_until(rank->changed, kForever, [&] { return rank->installed.count(number) || rank->exited || !there(); });
  --rank->asked;
  auto it = rank->installed.find(number);
  if (it == rank->installed.end()) co_return ENOTCONN;
  int error = it->second.error;
  rank->installed.erase(it);
  co_return error;
}

awaitable<int> install_in_family(Rank::Ptr rank, wire::ControlRecord about, std::vector<int> fds) {
  std::vector<ProcessChannel::Ptr> family = rank->children, holders;
  family.insert(family.begin(), rank->channel);
  wire::ControlRecord hold = about;
  hold.type = wire::Control::kHold;
  hold.flags = wire::kFlagHold;
  bool busy = false;
  for (const auto& process : family) {
    int error = co_await ask_process(rank, process, hold, {});
    if (error == 0) holders.push_back(process);
    if (error == EBUSY) busy = true;
  }
  int result = busy ? EBUSY : ENOTCONN;
  if (holders.size() > 1) about.flags |= wire::kFlagShared;
  for (const auto& process : holders) {
    if (result != 0 && result != ENOTCONN) {  // the first has refused: the others go on as they are
      hold.flags = 0;
      co_await ask_process(rank, process, hold, {});
      continue;
    }
    int error = co_await ask_process(rank, process, about, fds);
    if (result != 0) result = error;
    if (error == 0) about.flags &= ~wire::kFlagAnswer;  // said once
  }
  co_return result;
}

}  // namespace

awaitable<int> install(Rank::Ptr rank, wire::ControlRecord about, int fd) {
  about.type = wire::Control::kInstall;
  about.local_gen = rank->generation;
  about.error = fd >= 0 ? 0 : about.error ? about.error : ENOTCONN;
  std::vector<int> fds;
  if (fd >= 0) fds.push_back(fd);
  if (rank->children.empty()) co_return co_await ask_process(rank, rank->channel, about, fds);
  co_return co_await install_in_family(rank, about, fds);
}

}  // namespace msocket::daemons
