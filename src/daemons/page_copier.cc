// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/page_copier.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "src/checkpoint/image_check.h"

namespace msocket::daemons {

namespace {

using checkpoint::kPageSize;
using wire::ImagePart;
using wire::ImageRun;

constexpr uint32_t kMostRounds = 30;
constexpr uint64_t kSmall = 512 << 10;      // a millisecond at the freeze, about what a round costs
constexpr uint64_t kHuge = 2 << 20;
constexpr uint64_t kTake = 4 << 20;         // protected in one go, then read: what is written meanwhile is written again
constexpr uint64_t kBatch = 256 << 10;      // stays in the cache between the read and the send
constexpr size_t kBatchRuns = 256;
constexpr timeval kStall{30, 0};            // the other side takes not a byte

bool is_zero(const char* page) {
  auto* word = reinterpret_cast<const uint64_t*>(page);
  for (size_t i = 0; i < kPageSize / 8; ++i)
    if (word[i]) return false;
  return true;
}

}  // namespace

PageCopier::PageCopier(TrackedMemory memory, std::shared_ptr<CopyProgress> progress)
    : memory_(std::move(memory)), progress_(std::move(progress)), buffer_(kBatch) {}

void PageCopier::track() {
  try {
    why_not_ = memory_.begin();
    if (!why_not_.empty()) return;
    must_see_writes();
    follow_layout();
  } catch (const std::exception& error) {
    why_not_ = error.what();
  }
}

void PageCopier::run(ScopedFd stream, uint64_t limit) {
  if (!why_not_.empty()) return;
  stream_ = std::move(stream);
  limit_ = limit;
  for (int limit : {SO_SNDTIMEO, SO_RCVTIMEO}) setsockopt(stream_.get(), SOL_SOCKET, limit, &kStall, sizeof kStall);
  started_ = std::chrono::steady_clock::now();
  try {
    rounds_until_small();
  } catch (const BrokenStream&) {
    throw;
  } catch (const std::exception& error) {
    why_not_ = error.what();  // what is there is there; the freeze sees to the rest
  }
  timeval none{};
  for (int limit : {SO_SNDTIMEO, SO_RCVTIMEO}) setsockopt(stream_.get(), SOL_SOCKET, limit, &none, sizeof none);
  if (begun_) write_list();
}

void PageCopier::rounds_until_small() {
  memory_.must_be_same_program();
  begun_ = true;
  send({{&start_, sizeof start_}});
  uint64_t before = UINT64_MAX;
  for (int stuck = 0; progress_->round < kMostRounds && stuck < 2 && !progress_->stop;) {
    // The first time it was done before: what has been mapped since is untracked, and of the next round.
    if (++progress_->round > 1) follow_layout();
    tell_layout();
    if (progress_->round == 1) progress_->rest = memory_.written(layout_.areas());
    rest_before_ = progress_->rest;
    sent_before_ = bytes_;
    copy_written();
    wait_taken();
    must_see_writes();
    uint64_t rest = memory_.written(memory_.areas().areas);
    progress_->rest = rest;
    if (rest <= kSmall) break;
    if (rest > before / 4 * 3) ++stuck;
    before = rest;
  }
}

// A device writes past the page tables: what it has begun before a page was protected, nobody notices.
void PageCopier::must_see_writes() {
  if (!memory_.reads_directly()) return;
  forget(std::vector<Run>(sent_.runs()));
  throw std::runtime_error("it has a file open with O_DIRECT");
}

// The order matters: what is tracked when its pages are taken was there when the layout was read, or it would be new and untracked.
void PageCopier::follow_layout() {
  std::vector<Run> fresh = memory_.track(memory_.areas());
  forget(fresh);
  layout_.forget(fresh);
  MemoryAreas found = memory_.areas();
  start_.vdso_start = found.vdso_start;
  start_.vdso_end = found.vdso_end;
  MemoryLayout::Change change = layout_.update(found.areas);
  forget(change.lost());
  untold_ = std::move(change.pieces);
}

// In one go: the other side is woken by each piece that comes alone.
void PageCopier::tell_layout() {
  std::vector<ImageRun> heads(untold_.size());
  std::vector<iovec> parts;
  for (size_t i = 0; i < untold_.size(); ++i) {
    heads[i] = {ImagePart::kRegion, untold_[i].start, untold_[i].end - untold_[i].start};
    parts.push_back({&heads[i], sizeof heads[i]});
    parts.push_back({&untold_[i], sizeof untold_[i]});
  }
  send(std::move(parts));
  untold_.clear();
}

// The other side must not keep pages of which we no longer know that they are right: at the end nobody would tell it.
void PageCopier::forget(const std::vector<Run>& runs) {
  PageSet there;
  std::vector<Run> parts;
  for (const Run& run : runs)
    sent_.each_part(run.start, run.end, [&](uint64_t start, uint64_t end, bool sent) {
      if (sent) parts.push_back({start, end});
    });
  std::vector<ImageRun> heads;
  for (const Run& part : parts) heads.push_back({ImagePart::kDrop, part.start, part.end - part.start});
  if (!heads.empty()) send({{heads.data(), heads.size() * sizeof heads[0]}});
  sent_.remove(parts);
}

void PageCopier::copy_written() {
  sent_now_.clear();
  std::vector<Run> batch;
  uint64_t bytes = 0;
  auto flush = [&] {
    if (bytes) copy_batch(batch);
    batch.clear();
    bytes = 0;
  };
  std::vector<Run> taken;  // found and protected, perhaps not yet sent
  std::string why;
  try {
    for (const auto& area : layout_.areas())
      for (uint64_t at = area.start; at < area.end && !progress_->stop;) {
        flush();
        // Up to a border of huge pages: one that is protected in part would be split.
        uint64_t stop = std::min(area.end, (at + kTake) & ~(kHuge - 1));
        // All of it, should that fail: a part may be protected by then, and nobody is told which.
        taken = {{at, stop}};
        taken = memory_.take_written(area, &at, stop);
        for (Run run : taken)
          while (run.start < run.end) {
            uint64_t end = std::min(run.end, run.start + (kBatch - bytes));
            batch.push_back({run.start, end});
            bytes += end - run.start;
            run.start = end;
            if (bytes == kBatch || batch.size() == kBatchRuns) flush();
          }
      }
    flush();
  } catch (const BrokenStream&) {
    throw;
  } catch (const std::exception& error) {
    why = error.what();
  }
  sent_.add(sent_now_);
  if (why.empty()) return;
  forget(taken);  // nobody would know any more that the other side has old pages
  throw std::runtime_error(why);
}

void PageCopier::copy_batch(const std::vector<Run>& pages) {
  std::vector<Run> left = pages;
  while (!left.empty()) {
    size_t got = memory_.read(left, buffer_.data()) / kPageSize * kPageSize;
    std::vector<Run> read, unread;
    for (const Run& run : left) {
      uint64_t length = std::min<uint64_t>(got, run.end - run.start);
      got -= length;
      if (length) read.push_back({run.start, run.start + length});
      if (run.start + length < run.end) unread.push_back({run.start + length, run.end});
    }
    send_pages(read, buffer_.data());
    if (unread.empty()) break;
    // Unmapped since, or made unreadable: the freeze sees to that page.
    forget({{unread[0].start, unread[0].start + kPageSize}});
    unread[0].start += kPageSize;
    if (unread[0].start == unread[0].end) unread.erase(unread.begin());
    left = std::move(unread);
  }
  keep_limit();
}

void PageCopier::send_pages(const std::vector<Run>& pages, const char* content) {
  std::vector<Run> full;
  std::vector<const char*> where;
  auto add = [&](uint64_t start, uint64_t end, const char* from) {
    if (!full.empty() && full.back().end == start && where.back() + (full.back().end - full.back().start) == from) {
      full.back().end = end;
    } else {
      full.push_back({start, end});
      where.push_back(from);
    }
  };
  for (const Run& run : pages) {
    sent_now_.push_back(run);
    bool anonymous = layout_.anonymous(run.start, run.end);
    sent_.each_part(run.start, run.end, [&](uint64_t start, uint64_t end, bool sent) {
      if (sent || !anonymous) {
        add(start, end, content + (start - run.start));
        return;
      }
      for (uint64_t page = start; page < end; page += kPageSize)
        if (const char* from = content + (page - run.start); !is_zero(from)) add(page, page + kPageSize, from);
    });
    content += run.end - run.start;
  }
  std::vector<ImageRun> heads(full.size());
  std::vector<iovec> parts;
  parts.reserve(2 * full.size());
  for (size_t i = 0; i < full.size(); ++i) {
    heads[i] = {ImagePart::kPages, full[i].start, full[i].end - full[i].start};
    parts.push_back({&heads[i], sizeof heads[i]});
    parts.push_back({const_cast<char*>(where[i]), heads[i].len});
  }
  send(std::move(parts));
}

void PageCopier::send(std::vector<iovec> parts) {
  for (size_t first = 0; first < parts.size();) {
    msghdr message{};
    message.msg_iov = &parts[first];
    message.msg_iovlen = std::min<size_t>(parts.size() - first, 512);
    ssize_t n = sendmsg(stream_.get(), &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw BrokenStream(errno == EAGAIN ? "the new process takes nothing any more" : strerror(errno));
    bytes_ += n;
    auto left = static_cast<size_t>(n);
    while (first < parts.size() && left >= parts[first].iov_len) left -= parts[first++].iov_len;
    if (left) {
      parts[first].iov_base = static_cast<char*>(parts[first].iov_base) + left;
      parts[first].iov_len -= left;
    }
  }
  progress_->sent = bytes_;
  progress_->rest = rest_before_ - std::min(rest_before_, bytes_ - sent_before_);
}

void PageCopier::wait_taken() {
  ImageRun head{ImagePart::kSync, progress_->round, 0}, back;
  send({{&head, sizeof head}});
  ssize_t n;
  while ((n = recv(stream_.get(), &back, sizeof back, MSG_WAITALL)) < 0 && errno == EINTR) {
  }
  if (n != sizeof back || back.part != head.part || back.addr != head.addr) throw BrokenStream("the new process does not follow");
}

void PageCopier::keep_limit() {
  if (!limit_) return;
  auto due = started_ + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                            std::chrono::duration<double>(static_cast<double>(bytes_) / static_cast<double>(limit_)));
  for (;;) {
    auto now = std::chrono::steady_clock::now();
    if (now >= due || progress_->stop) return;
    std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(due - now, std::chrono::milliseconds(50)));
  }
}

void PageCopier::write_list() {
  list_.reset(memfd_create("msocket-sent", MFD_CLOEXEC));
  // The ground is that of the copying: the program may have put another in its place since.
  std::vector<wire::SentRun> runs;
  for (const auto& area : layout_.areas())
    sent_.each_part(area.start, area.end, [&](uint64_t start, uint64_t end, bool sent) {
      if (sent) runs.push_back({start, end, wire::ground_of(area)});
    });
  auto* from = reinterpret_cast<const char*>(runs.data());
  for (size_t left = runs.size() * sizeof runs[0]; left;) {
    ssize_t n = write(list_.get(), from, left);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw BrokenStream("no memory for the list of its pages");  // without it the frozen process cannot go on
    from += n;
    left -= static_cast<size_t>(n);
  }
}

}  // namespace msocket::daemons
