// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Rewrites MPI_Comm_spawn on its way from a rank to Hydra, so that spawned programs start through the stub as well.
// PMI-1 text, one request over several lines:
//
//   mcmd=spawn / nprocs=N / execname=X / ... / arg1=A / ... / argcnt=1 / ... / info_key_0=K / info_val_0=V / endcmd
//   becomes      execname=STUB, arg1=X, arg2=A, argcnt=2
//
// Everything else passes unchanged and at once. No I/O; one object for each rank.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace msocket {

class PmiSpawnRewriter {
 public:
  explicit PmiSpawnRewriter(std::string stub) : stub_(std::move(stub)) {}

  /// The next bytes from the rank, cut anywhere; returns what to hand on now.
  std::string feed(std::string_view data);

 private:
  std::string rewrite() const;
  std::string give_up();

  std::string stub_;
  std::string line_;                // held: may become "mcmd=spawn", or belongs to a request not yet complete
  bool mid_line_ = false;           // the beginning of this line has been handed on
  bool in_spawn_ = false;
  std::vector<std::string> lines_;  // of the request, without newlines
  size_t held_ = 0;                 // their bytes
};

}  // namespace msocket
