// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/first_bytes.h"

#include <cstring>

namespace msocket::wire {

size_t opening_length(const Preamble& preamble) {
  if (preamble.magic != kPortMagic) throw Stranger(Reason::kMagic);
  if (preamble.version != kPortVersion) throw Stranger(Reason::kVersion);
  if (preamble.purpose == Purpose::kLink) return sizeof(LinkHello);
  if (preamble.purpose >= Purpose::kOpen && preamble.purpose <= Purpose::kStandby) return sizeof(ConnHeader);
  throw Stranger(Reason::kPurpose);
}

Caller check_opening(const Greeting& greeting, const Key& cluster, std::span<const uint8_t> bytes, SeenTags* seen) {
  Preamble preamble;
  if (bytes.size() < sizeof preamble) throw Stranger(Reason::kCut);
  std::memcpy(&preamble, bytes.data(), sizeof preamble);
  if (bytes.size() != opening_length(preamble)) throw Stranger(Reason::kCut);
  Caller caller;
  caller.greeting = greeting;
  Tag expected, said;
  if (preamble.purpose == Purpose::kLink) {
    LinkHello& hello = caller.link.emplace();
    std::memcpy(&hello, bytes.data(), sizeof hello);
    said = hello.tag;
    expected = make_tag(cluster, bytes_of(greeting), before_tag(hello));
  } else {
    ConnHeader& header = caller.data.emplace();
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.job[sizeof header.job - 1]) throw Stranger(Reason::kTag);  // not one of ours: its name has no end
    said = header.tag;
    expected = make_tag(job_key(cluster, header.job), bytes_of(greeting), before_tag(header));
  }
  if (!same_tag(expected, said)) throw Stranger(seen && seen->has(said) ? Reason::kReplay : Reason::kTag);
  if (seen) seen->add(said);
  return caller;
}

bool continues(const Caller& standby, const Caller& next) {
  if (!standby.data || !next.data) return false;
  const ConnHeader &before = *standby.data, &now = *next.data;
  return before.preamble.purpose == Purpose::kStandby && now.preamble.purpose == Purpose::kRedirect &&
         before.from.ip == now.from.ip && before.to.ip == now.to.ip && std::strcmp(before.job, now.job) == 0;
}

const char* why_not_greeting(const Greeting& greeting) {
  if (greeting.magic != kPortMagic) return "not an msocket port";
  if (greeting.version != kPortVersion) return "another version of msocket";
  return nullptr;
}

bool good_answer(const Key& job, const Greeting& greeting, const ConnHeader& header, const Answer& answer) {
  if (answer.magic != kPortMagic) return false;
  return same_tag(make_tag(job, bytes_of(greeting), bytes_of(header), before_tag(answer)), answer.tag);
}

}  // namespace msocket::wire
