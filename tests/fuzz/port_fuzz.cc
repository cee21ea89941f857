// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The first bytes on a daemon's port, and what an opener gets to read there. Key and nonce are constants here, so that inputs
// can be signed: a signed one must be let in, and with one bit changed it must not.
#include "src/wire/first_bytes.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using namespace msocket::wire;
using fuzz::must;

namespace {
enum Mode : uint8_t { kRaw, kSigned, kFlipped, kAnswer, kModes };

Key cluster() {
  Key key;
  key.fill(7);
  return key;
}

// As greet() in src/wire/port.cc goes about it.
bool let_in(const Greeting& greeting, const std::string& bytes, SeenTags* seen, Caller* caller) {
  try {
    Preamble preamble;
    if (bytes.size() < sizeof preamble) return false;
    std::memcpy(&preamble, bytes.data(), sizeof preamble);
    std::string opening = bytes.substr(0, opening_length(preamble));
    *caller = check_opening(greeting, cluster(), {reinterpret_cast<const uint8_t*>(opening.data()), opening.size()}, seen);
    return true;
  } catch (const Stranger& stranger) {
    must(std::strlen(name(stranger.reason())) > 1, "every reason has a name");
    return false;
  }
}

template <class T>
std::string signed_bytes(const Greeting& greeting, const Key& key, T object) {
  object.tag = make_tag(key, bytes_of(greeting), before_tag(object));
  return std::string(reinterpret_cast<const char*>(&object), sizeof object);
}

std::string sign(const Greeting& greeting, fuzz::Input& input) {
  auto purpose = static_cast<Purpose>(1 + input.number<uint8_t>() % 6);
  if (purpose == Purpose::kLink) {
    LinkHello hello;
    input.take(hello.nonce.data(), hello.nonce.size());
    return signed_bytes(greeting, cluster(), hello);
  }
  ConnHeader header;
  auto* body = reinterpret_cast<char*>(&header) + sizeof(Preamble);
  input.take(body, sizeof header - sizeof(Preamble) - sizeof(Tag));
  header.preamble.purpose = purpose;
  header.job[sizeof header.job - 1] = '\0';
  return signed_bytes(greeting, job_key(cluster(), header.job), header);
}

void look_at(const Caller& caller) {
  must(caller.link.has_value() != caller.data.has_value(), "a caller is one of two things");
  if (!caller.data) return;
  must(strnlen(caller.data->job, sizeof caller.data->job) < sizeof caller.data->job, "a job's name ends");
#ifdef MSOCKET_PLANT_CRASH  // to prove that the runner finds one; see tests/fuzz_test
  std::string job = caller.data->job;
  if (job.size() == 2 && job[0] == '1' && caller.data->preamble.purpose == Purpose::kMirror) {
    volatile char* gone = new char[4];
    delete[] gone;
    gone[1] = 0;
  }
#endif
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool ready = (auth_init(), true);
  (void)ready;
  fuzz::Input input(data, size);
  Greeting greeting;
  greeting.nonce.fill(3);
  SeenTags seen;
  Caller caller;
  switch (input.number<uint8_t>() % kModes) {
    case kRaw:
      if (let_in(greeting, input.rest(), &seen, &caller)) look_at(caller);
      break;
    case kSigned: {
      std::string bytes = sign(greeting, input);
      must(let_in(greeting, bytes, &seen, &caller), "who knows the key is let in");
      look_at(caller);
      greeting.nonce[0] ^= 1;
      must(!let_in(greeting, bytes, &seen, &caller), "a replay is refused");
      break;
    }
    case kFlipped: {
      auto bit = input.number<uint16_t>();
      std::string bytes = sign(greeting, input);
      bytes[bit / 8 % bytes.size()] ^= static_cast<char>(1 << bit % 8);
      must(!let_in(greeting, bytes, &seen, &caller), "an altered opening is refused");
      break;
    }
    case kAnswer: {
      Greeting theirs;
      input.take(&theirs, sizeof theirs);
      if (why_not_greeting(theirs)) break;
      ConnHeader header;
      Answer answer;
      input.take(&answer, sizeof answer);
      Key key = job_key(cluster(), "1");
      answer.tag = make_tag(key, bytes_of(theirs), bytes_of(header), before_tag(answer));
      must(good_answer(key, theirs, header, answer) == (answer.magic == kPortMagic), "an answer is its key's");
      answer.gen ^= 1;
      must(!good_answer(key, theirs, header, answer), "an altered answer is refused");
      break;
    }
  }
  return 0;
}
