// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <sys/types.h>
#include <sys/uio.h>

#include <functional>
#include <string>
#include <vector>

#include "src/daemons/memory_layout.h"
#include "src/daemons/page_set.h"
#include "src/util/scoped_fd.h"

namespace msocket::daemons {

/// The memory of another process of the same user, while that runs: which pages it writes, and what is in them. The process has
/// lent a userfaultfd; when that is closed the tracking is off, in whatever state this object is. Every failure is a
/// std::runtime_error with one line. Calls may take milliseconds: not for the daemon's loop.
class TrackedMemory {
 public:
  TrackedMemory(pid_t pid, ScopedFd userfault);
  /// nullptr, or why the kernel cannot do it.
  std::string begin();
  MemoryAreas areas() const;
  /// Throws when it has called exec.
  void must_be_same_program() const;
  /// Registers what of the areas is not tracked yet. Returns that: whatever was known of its pages is worth nothing.
  std::vector<PageSet::Run> track(const MemoryAreas& found);
  /// Pages of [*at, end), a part of the area, that were written since they were found last, ascending; from now on they count as not written. *at moves
  /// on to where it has looked.
  std::vector<PageSet::Run> take_written(const wire::ImageRegion& area, uint64_t* at, uint64_t end);
  /// How many bytes of the areas have been written since; where they are not tracked all of them.
  uint64_t written(const std::vector<wire::ImageRegion>& areas) const;
  /// Has it a file open whose reads go from the device into its memory?
  bool reads_directly() const;
  /// Reads whole pages, in order; what cannot be read ends it. Returns the bytes read.
  size_t read(const std::vector<PageSet::Run>& pages, char* to) const;

 private:
  long scan(struct ScanRequest& request) const;
  static void ask_written(struct ScanRequest& request, const wire::ImageRegion& area);
  std::string file(const char* name) const { return "/proc/" + std::to_string(pid_) + "/" + name; }
  pid_t pid_;
  ScopedFd userfault_, pagemap_;
  bool tracked_before_ = false;
};

}  // namespace msocket::daemons
