// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What may come to a virtual UDP socket: anything, from anybody. It passes a real socket and the library's own check; a second
// opinion, with libsodium's SipHash and a plain set of counters, says what the program must be given, and nothing else.
#include <errno.h>
#include <sodium.h>
#include <sys/socket.h>

#include <deque>
#include <map>
#include <set>
#include <vector>

#include "src/transport/replay.h"
#include "src/transport/runtime.h"
#include "src/transport/udp.h"
#include "src/util/scoped_fd.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using namespace msocket::transport;
using fuzz::must;

namespace {

constexpr int kSources = 4;
constexpr size_t kQueue = 8;  // of a Unix socket, ten at most
constexpr uint16_t kPort = 7;
constexpr uint64_t kFirstCounter = 1'700'000'000'000'000'000;
uint8_t key[wire::kDatagramKeyLength] = {4, 7, 1, 1};

void sign(std::string& datagram) {
  std::string text = datagram.substr(0, wire::kDatagramTagged) + datagram.substr(sizeof(wire::DatagramHeader));
  crypto_shorthash_siphashx24(reinterpret_cast<uint8_t*>(datagram.data()) + wire::kDatagramTagged,
                              reinterpret_cast<const uint8_t*>(text.data()), text.size(), key);
}

class Socket {
 public:
  explicit Socket(bool connected) {
    // Each input has an address of its own: what the one before has left in the table of counters is nobody's.
    static uint32_t inputs = 0;
    vip_ = 0xf0000000 + ++inputs % 0x100000 * (kSources + 1);
    rt.vip = vip_;
    wire::ControlRecord start;
    std::memcpy(start.text + wire::kUdpKeyAt, key, sizeof key);
    begin_datagrams(start);
    datagram_counts = {};
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0, "no descriptor is lost");
    near_.reset(pair[0]);
    far_.reset(pair[1]);
    vs_ = allocate_vsocket();
    vs_->fd = pair[1];
    vs_->datagram = Datagram::kVirtual;
    vs_->local = {vip_, kPort};
    if (connected) vs_->peer = source(0);
  }
  ~Socket() { free_vsocket(vs_); }

  Endpoint source(int number) const { return {vip_ + 1 + static_cast<uint32_t>(number) % kSources, 5000}; }
  Endpoint own() const { return vs_->local; }
  bool full() const { return waiting_.size() >= kQueue; }

  void send(const std::string& datagram) {
    must(::send(near_.get(), datagram.data(), datagram.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0, "room in the queue");
    waiting_.push_back(datagram);
    sent_.push_back(datagram);
  }
  void send_again(size_t number) {
    if (!sent_.empty()) send(std::string(sent_[number % sent_.size()]));
  }

  void take(bool peek) {
    while (!waiting_.empty() && !wanted(waiting_.front())) waiting_.pop_front();
    Received got{};
    long r = next_datagram(vs_, peek, &got);
    if (waiting_.empty()) {
      must(r == -EAGAIN, "nothing is given that is not for the program");
      return;
    }
    must(r == 0, "what is for the program is given");
    const std::string& datagram = waiting_.front();
    wire::DatagramHeader header;
    std::memcpy(&header, datagram.data(), sizeof header);
    must(got.from == header.from, "its sender's name");
    must(got.size == datagram.size() - sizeof header && std::memcmp(got.data, &datagram[sizeof header], got.size) == 0,
         "all of its bytes, and no others");
    if (peek) return;
    taken_[header.from].insert(header.counter);
    waiting_.pop_front();
    ++received_;
  }
  void take_all() {
    while (!waiting_.empty()) take(false);
    take(false);
    const DatagramCounts& c = datagram_counts;
    must(c.received == received_ && c.received + c.strangers + c.replays + c.unwanted == sent_.size(), "each is counted once");
  }

 private:
  bool wanted(const std::string& datagram) const {
    wire::DatagramHeader header;
    if (datagram.size() < sizeof header) return false;
    std::memcpy(&header, datagram.data(), sizeof header);
    std::string again = datagram;
    sign(again);
    if (again != datagram || header.magic != wire::kDatagramMagic || header.version != wire::kDatagramVersion) return false;
    if (header.to != vs_->local || (vs_->peer.port && vs_->peer != header.from)) return false;
    auto before = taken_.find(header.from);
    if (before == taken_.end()) return true;
    uint64_t highest = *before->second.rbegin();
    return !before->second.count(header.counter) && (header.counter > highest || highest - header.counter < ReplayTable::kWindow);
  }

  uint32_t vip_;
  ScopedFd near_, far_;
  VSocket* vs_;
  std::vector<std::string> sent_;
  std::deque<std::string> waiting_;
  std::map<Endpoint, std::set<uint64_t>> taken_;
  uint64_t received_ = 0;
};

enum Kind { kRaw, kSigned, kFlipped, kAgain };

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  Socket socket(input.number<uint8_t>() & 1);
  for (int i = 0; i < 200 && input.left(); ++i) {
    auto how = input.number<uint8_t>();
    Kind kind = static_cast<Kind>(how & 3);
    if (kind == kRaw) {
      socket.send(input.bytes(input.number<uint16_t>() % 2048));
    } else if (kind == kAgain) {
      socket.send_again(input.number<uint8_t>());
    } else {
      wire::DatagramHeader header;
      header.from = socket.source(input.number<uint8_t>());
      header.to = socket.own();
      if (how & 4) header.to.port = input.number<uint8_t>();  // perhaps the same
      if (how & 8) header.version = input.number<uint8_t>();
      header.counter = kFirstCounter + static_cast<uint64_t>(int64_t{input.number<int16_t>()});
      std::string datagram(reinterpret_cast<const char*>(&header), sizeof header);
      datagram += input.bytes(input.number<uint16_t>() % 2048);
      sign(datagram);
      if (kind == kFlipped) datagram[input.number<uint16_t>() % datagram.size()] ^= static_cast<char>(input.number<uint8_t>());
      socket.send(datagram);
    }
    if (how & 16) socket.take(true);
    if (how & 32 || socket.full()) socket.take(false);
    if (socket.full()) socket.take_all();
  }
  socket.take_all();
  return 0;
}
