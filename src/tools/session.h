// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The folder that one mpiexec works in: its stub socket, and a private cluster's configuration and logs
// (src/wire/config.h, sessions). Only its owner can enter it. It goes with the object; what a killed program has left
// behind is removed by the next one. MSOCKET_KEEP_SESSION=1 keeps it, for those who look for a fault.
#pragma once
#include <string>

namespace msocket {

class Session {
 public:
  /// Throws std::runtime_error when the folder cannot be made.
  Session();
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const std::string& folder() const { return folder_; }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }

 private:
  std::string folder_;
  int lock_ = -1;
  int owner_;  // a forked child does not remove it
};

/// The folder of our own program, where its siblings (ms-exec, msmaster, msdaemon, mpiexec.hydra) are too.
/// $MSOCKET_BINDIR replaces it (a build tree has them apart).
std::string program_folder();

}  // namespace msocket
