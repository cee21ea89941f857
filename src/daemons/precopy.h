// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <functional>
#include <memory>

#include "src/daemons/rank.h"

namespace msocket::daemons {

class PageCopier;

/// What a pre-copy leaves for the freeze and the report. As long as it is there the process is tracked; it is let go in a thread, for
/// the kernel may need milliseconds.
class Precopy {
 public:
  using Tell = std::function<void(const proto::MoveProgress&)>;
  Precopy() = default;
  Precopy(const Precopy&) = delete;
  ~Precopy() { end(); }
  /// The tracking is over; what is under way ends soon.
  void end();
  /// Begins it: needs no destination, copies nothing, and C notices nothing. Never throws: what this rank or this kernel cannot do is
  /// told by run().
  awaitable<void> track(Rank::Ptr rank);
  /// Behind track(). Copies the running rank's memory into `image`, the stream to its new process behind `to`. Throws one line when the move
  /// cannot go on; what only this rank or this kernel cannot do goes into the report.
  awaitable<void> run(Rank::Ptr rank, Link::Ptr to, int image, uint64_t limit, Tell tell);
  /// Descriptor of the list for kFreeze; -1: the image has not begun.
  int list() const;
  void report(proto::MoveReport* report) const;

 private:
  std::shared_ptr<PageCopier> copier_;
  Rank::Ptr asked_;  ///< to lend a userfaultfd
  bool ended_ = false;
  bool too_early_ = false;   ///< it had not settled; it may have since
  std::string why_not_;
  double ms_ = 0;
};

/// MSOCKET_PRECOPY=no in the daemon's environment: moves stop the process first, as on a kernel that cannot do better.
bool precopy_wanted();

}  // namespace msocket::daemons
