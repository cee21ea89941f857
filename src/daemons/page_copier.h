// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <atomic>
#include <chrono>
#include <memory>

#include "src/daemons/memory_layout.h"
#include "src/daemons/page_set.h"
#include "src/daemons/tracked_memory.h"

namespace msocket::daemons {

/// How far it is: written by the copier's thread, read by the daemon's loop.
struct CopyProgress {
  std::atomic<uint32_t> round{0};
  std::atomic<uint64_t> sent{0}, rest{0};  ///< bytes
  std::atomic<bool> stop{false};           ///< set by the loop
};

/// The stream to the new process takes nothing any more: the move is off. Whatever else goes wrong costs only the rest of the
/// pre-copy.
struct BrokenStream : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Copies a running process's memory into the image's stream, round by round, and keeps the book of what the other side has
/// (doc/migration.md). To be used in a thread of its own. The tracking lasts as long as this object.
class PageCopier {
 public:
  PageCopier(TrackedMemory memory, std::shared_ptr<CopyProgress> progress);
  /// From here on what the process writes is noted. Needs no destination yet, and the process pays nothing before run().
  void track();
  /// `stream` is a socket, blocking. `limit`: bytes per second, 0: none. Returns when the rest is small or stops shrinking. Throws
  /// BrokenStream.
  void run(ScopedFd stream, uint64_t limit);
  bool begun() const { return begun_; }              ///< the image's start is in the stream
  const std::string& why_not() const { return why_not_; }  ///< one line, when this kernel or this process cannot have it
  const std::shared_ptr<CopyProgress>& progress() const { return progress_; }
  uint32_t rounds() const { return progress_->round; }
  uint64_t bytes() const { return bytes_; }          ///< of the image
  /// What has been sent, as wire::SentRun, for the frozen process to read.
  const ScopedFd& list() const { return list_; }

 private:
  using Run = PageSet::Run;
  void rounds_until_small();
  void must_see_writes();
  void follow_layout();
  void tell_layout();
  void copy_written();
  void copy_batch(const std::vector<Run>& pages);
  void send_pages(const std::vector<Run>& pages, const char* content);
  void forget(const std::vector<Run>& runs);
  void send(std::vector<iovec> parts);
  /// Until the other side has taken all of it: some MiB may lie in buffers, and a frozen process would wait for them.
  void wait_taken();
  void keep_limit();
  void write_list();

  TrackedMemory memory_;
  ScopedFd stream_, list_;
  uint64_t limit_ = 0;
  std::shared_ptr<CopyProgress> progress_;
  bool begun_ = false;
  std::string why_not_;
  uint64_t bytes_ = 0;
  uint64_t rest_before_ = 0, sent_before_ = 0;  // at the round's begin, for the progress
  std::chrono::steady_clock::time_point started_;
  MemoryLayout layout_;
  wire::ImageStart start_;
  std::vector<wire::ImageRegion> untold_;  ///< pieces of the layout that the other side has not been told of
  PageSet sent_;                 ///< what the other side has as it was when it was read
  std::vector<Run> sent_now_;    ///< in this round
  std::vector<char> buffer_;
};

}  // namespace msocket::daemons
