// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Why a connection from outside, or what somebody says on one, is refused; and how often that has been. No I/O.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <set>
#include <stdexcept>

#include "src/wire/conn_header.h"

namespace msocket::wire {

/// The first nine know no key of ours. The others do: they are mistaken, or somebody who has got hold of one.
enum class Reason : uint8_t {
  kScan,        ///< closed without a byte
  kCut,         ///< closed in the middle of its first bytes
  kSlow,        ///< its first bytes were not complete in time
  kCrowded,     ///< the oldest of too many whose first bytes were not complete
  kMagic,       ///< its first bytes are not msocket's
  kVersion,     ///< another version of msocket
  kPurpose,     ///< wants something that does not exist
  kTag,         ///< does not know the key that it should
  kReplay,      ///< says again what somebody has said here before
  kJob,         ///< wants something of another job's rank
  kGeneration,  ///< speaks for, or to, a generation that is over
  kFrame,       ///< a link: a frame that is too long or too short
  kSeal,        ///< a link: a frame that does not authenticate, or is none
};
inline constexpr int kReasons = 13;

/// One word, as `msctl strangers` has it.
const char* name(Reason reason);
/// One line for a person.
const char* meaning(Reason reason);

/// Thrown by what looks at bytes from outside.
class Stranger : public std::runtime_error {
 public:
  explicit Stranger(Reason reason) : std::runtime_error(meaning(reason)), reason_(reason) {}
  Reason reason() const { return reason_; }

 private:
  Reason reason_;
};

class StrangerCounts {
 public:
  void add(Reason reason) { ++counts_[static_cast<size_t>(reason)]; }
  uint64_t of(Reason reason) const { return counts_[static_cast<size_t>(reason)]; }
  uint64_t total() const;

 private:
  std::array<uint64_t, kReasons> counts_{};
};

/// The last tags that were right. A nonce is never used twice, so a tag that comes again is a replay; that it is refused does
/// not depend on this memory, only the name that it is counted under.
class SeenTags {
 public:
  void add(const Tag& tag);
  bool has(const Tag& tag) const { return tags_.count(tag) > 0; }

 private:
  static constexpr size_t kMost = 4096;
  std::set<Tag> tags_;
  std::deque<Tag> order_;
};

}  // namespace msocket::wire
