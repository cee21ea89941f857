// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/stranger.h"

#include <numeric>

namespace msocket::wire {

namespace {
struct Words {
  const char *name, *meaning;
};

Words words(Reason reason) {
  switch (reason) {
    case Reason::kScan: return {"scan", "closed without a byte: a port scan"};
    case Reason::kCut: return {"cut", "closed in the middle of its first bytes"};
    case Reason::kSlow: return {"slow", "did not say in time who it is"};
    case Reason::kCrowded: return {"crowded", "was the oldest of too many that had not said who they are"};
    case Reason::kMagic: return {"magic", "does not speak msocket's protocol"};
    case Reason::kVersion: return {"version", "is another version of msocket"};
    case Reason::kPurpose: return {"purpose", "wants something that does not exist"};
    case Reason::kTag: return {"tag", "does not know the key"};
    case Reason::kReplay: return {"replay", "repeats what was said here before"};
    case Reason::kJob: return {"job", "knows one job's key and wants a rank of another"};
    case Reason::kGeneration: return {"generation", "speaks for a generation that is over"};
    case Reason::kFrame: return {"frame", "sent a frame of impossible length over a link"};
    case Reason::kSeal: return {"seal", "sent what does not authenticate over a link"};
  }
  return {"?", "?"};
}
}  // namespace

const char* name(Reason reason) { return words(reason).name; }
const char* meaning(Reason reason) { return words(reason).meaning; }

uint64_t StrangerCounts::total() const { return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0}); }

void SeenTags::add(const Tag& tag) {
  if (!tags_.insert(tag).second) return;
  order_.push_back(tag);
  if (order_.size() <= kMost) return;
  tags_.erase(order_.front());
  order_.pop_front();
}

}  // namespace msocket::wire
