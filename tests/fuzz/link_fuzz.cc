// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A link's frames, the envelopes in them, and those who take them: the master's registry and the streams' offsets.
#include <spdlog/spdlog.h>

#include "src/daemons/registry.h"
#include "src/wire/frame.h"
#include "src/wire/streams.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using fuzz::must;

namespace {
constexpr uint32_t kNetwork = 0xf0000000, kMask = 0xfffffff0;

class Ends {
 public:
  void take(const proto::Envelope& envelope, uint8_t from) {
    now_ += std::chrono::seconds(envelope.id() % 100);
    if (envelope.has_stream_data()) return data(envelope.stream_data());
    if (envelope.has_stream_ack()) return ack(envelope.stream_ack());
    if (envelope.has_handover()) return restore(envelope.handover());
    proto::Envelope reply;
    try {
      registry_.serve(1 + from % 3, envelope, reply, now_);
      if (envelope.has_register_node() && envelope.reply()) registry_.gone(1 + from % 3);
      registry_.clean(now_, std::chrono::seconds(60));
    } catch (const std::runtime_error&) {
    }
    std::string bytes;
    must(reply.SerializeToString(&bytes), "a reply can be sent");
  }

 private:
  void data(const proto::StreamData& data) {
    uint64_t before = in_.taken();
    in_.add(data.offset(), data.data(), data.eof());
    std::string got = in_.take();
    if (before >> 63 == 0) must(in_.taken() >= before, "what is acknowledged stays so");
    must(got.size() <= kMost, "no more than was said");
  }
  void ack(const proto::StreamAck& ack) {
    out_.append("some words of the rank's");
    while (out_.next()) {
    }
    if (ack.stream()) out_.finish();
    out_.ack(ack.offset());
    if (ack.rank() % 2) out_.rewind();
    while (out_.next()) {
    }
  }
  void restore(const proto::Handover& handover) {
    for (const auto& state : handover.streams()) {
      in_ = StreamIn::restore(state.offset(), state.pending(), state.eof());
      out_ = StreamOut::restore(state.offset(), state.pending(), state.eof());
    }
  }

  static constexpr size_t kMost = 64 * 1024 * 1024;
  daemons::Registry registry_{kNetwork, kMask};
  daemons::Registry::Time now_{};
  StreamIn in_;
  StreamOut out_;
};

// The key is known to both here; what is sealed must come out, what is not must not.
void frames(fuzz::Input& input) {
  wire::Key key{};
  wire::FrameSealer sealer;
  wire::FrameOpener opener, strict;
  wire::FrameStart start = sealer.begin(key);
  opener.begin(key, start);
  strict.begin(key, start);
  proto::Envelope said;
  said.set_error(input.bytes(input.number<uint8_t>()));
  std::string frame = sealer.seal(said);
  proto::Envelope heard = opener.open(frame.substr(4));
  must(heard.error() == said.error(), "a frame comes out as it went in");
  try {
    uint32_t length = input.number<uint32_t>();
    size_t wanted = wire::FrameOpener::check_length(length);
    must(wanted <= wire::kMaxFrame, "a frame's length is bounded");
    std::string garbage = input.rest();
    if (garbage == frame.substr(4)) return;
    strict.open(garbage);
    must(false, "garbage does not authenticate");
  } catch (const wire::Stranger&) {
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool ready = (wire::auth_init(), spdlog::set_level(spdlog::level::off), true);
  (void)ready;
  fuzz::Input input(data, size);
  if (input.number<uint8_t>() == 0) {
    frames(input);
    return 0;
  }
  Ends ends;
  for (int i = 0; i < 64 && input.left(); ++i) {
    auto from = input.number<uint8_t>();
    std::string plain = input.bytes(input.number<uint16_t>());
    try {
      ends.take(wire::FrameOpener::parse(plain), from);
    } catch (const wire::Stranger&) {
    }
  }
  return 0;
}
