// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/mirror/mirror.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <functional>
#include <future>
#include <map>
#include <thread>

#include "src/wire/conn_header.h"

namespace msocket::mirror {
namespace {

constexpr int kLimitMs = 20000;  // for what must happen
constexpr ConnId kA{1, 10}, kB{2, 20};

/// Two ends of one TCP connection.
std::pair<ScopedFd, ScopedFd> tcp_pair() {
  ScopedFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  listen(listener.get(), 1);
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length);
  ScopedFd one(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(one.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return {std::move(one), ScopedFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC))};
}

bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, kLimitMs) == 1;
}

/// What comes until the end, or an error's name.
std::string read_to_end(int fd) {
  std::string all;
  char buffer[65536];
  for (;;) {
    if (!readable(fd)) return all + " (and then nothing)";
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0) return all + " " + strerrorname_np(errno);
    if (n == 0) return all;
    all.append(buffer, n);
  }
}

bool nothing_to_read(const ScopedFd& fd) {
  char byte;
  return recv(fd.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

void send_all(const ScopedFd& fd, const std::string& data) {
  size_t at = 0;
  while (at < data.size()) {
    ssize_t n = send(fd.get(), data.data() + at, data.size() - at, MSG_NOSIGNAL);
    ASSERT_GT(n, 0) << strerror(errno);
    at += n;
  }
}

std::string pattern(size_t size, unsigned seed) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 2654435761u + seed) >> 11);
  return text;
}

/// A mirror in a thread; the test plays the old process, the daemon, the peers and the new process.
class MirrorTest : public testing::Test {
 protected:
  MirrorTest() {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    mailbox_.reset(pair[0]);
    auto [ours, theirs] = tcp_pair();
    process_ = std::move(ours);
    stream_ = std::move(theirs);
    auto mirror = std::make_shared<Mirror>(ScopedFd(pair[1]));
    status_ = std::async(std::launch::async, [mirror]() mutable {
      int status = mirror->run();
      mirror.reset();  // its descriptors are closed when run() has returned, as when the program ends
      return status;
    });
  }

  ~MirrorTest() override {
    mailbox_.reset();
    process_.reset();
    stream_.reset();
    peers_.clear();
    old_.clear();
    upstream_.reset();
    if (status_.valid() && status_.wait_for(std::chrono::milliseconds(kLimitMs)) != std::future_status::ready) {
      ADD_FAILURE() << "the mirror does not end";
      abort();  // its thread cannot be ended otherwise
    }
  }

  void post(wire::Mailbox type, const ConnId& id = {}, int fd = -1, uint32_t flags = 0) {
    post(wire::MailboxRecord{.type = type, .conn = id, .flags = flags}, fd);
  }
  void post(wire::MailboxRecord record, int fd) {
    iovec part{&record, sizeof record};
    union {
      cmsghdr header;
      char space[CMSG_SPACE(sizeof(int))];
    } ancillary{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (fd >= 0) {
      message.msg_control = &ancillary;
      message.msg_controllen = sizeof ancillary;
      ancillary.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
      memcpy(CMSG_DATA(&ancillary.header), &fd, sizeof fd);
    }
    ASSERT_EQ(sendmsg(mailbox_.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof record)) << strerror(errno);
  }

  /// A connection of the frozen process, posted to the mirror. The old process keeps its own descriptor until commit().
  void connection(const ConnId& id, uint32_t flags = 0) {
    auto [peer, old] = tcp_pair();
    post(wire::Mailbox::kConn, id, old.get(), flags);
    peers_[id] = std::move(peer);
    old_[id] = std::move(old);
  }

  /// The stream of the mirror before; we play that mirror.
  void upstream(const std::string& half_read = {}, uint32_t have = 0, uint32_t left = 0) {
    auto [ours, theirs] = tcp_pair();
    wire::MailboxRecord record{.type = wire::Mailbox::kUpstream, .frame_have = have, .frame_left = left};
    memcpy(&record.frame, half_read.data(), half_read.size());
    post(record, theirs.get());
    upstream_ = std::move(ours);
  }

  static std::string frame_text(wire::Mirror type, const ConnId& id, const std::string& data = {}) {
    wire::MirrorFrame frame{.type = type, .conn = id, .len = static_cast<uint32_t>(data.size())};
    return std::string(reinterpret_cast<const char*>(&frame), sizeof frame) + data;
  }

  /// The mirror before is told to end this peer's old stream.
  void upstream_told(const ConnId& id) {
    wire::MirrorFrame frame;
    ASSERT_TRUE(readable(upstream_.get())) << "the mirror before is told nothing";
    ASSERT_EQ(recv(upstream_.get(), &frame, sizeof frame, MSG_WAITALL), static_cast<ssize_t>(sizeof frame));
    EXPECT_EQ(frame.type, wire::Mirror::kHalfClose);
    EXPECT_EQ(frame.conn, id);
  }

  static std::string answer_text(wire::Verdict verdict) {
    wire::Answer answer;
    answer.verdict = verdict;
    return std::string(reinterpret_cast<const char*>(&answer), sizeof answer);
  }

  /// The old process ends, the mirror begins.
  void commit() {
    post(wire::Mailbox::kGo, {}, stream_.get());
    stream_.reset();
    mailbox_.reset();
    old_.clear();
  }

  void half_close(const ConnId& id) {
    wire::MirrorFrame frame{.type = wire::Mirror::kHalfClose, .conn = id};
    ASSERT_EQ(send(process_.get(), &frame, sizeof frame, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof frame));
  }

  void read_exactly(void* data, size_t length) {
    auto* at = static_cast<char*>(data);
    while (length) {
      ASSERT_TRUE(readable(process_.get())) << "nothing comes from the mirror";
      ssize_t n = recv(process_.get(), at, length, 0);
      ASSERT_GT(n, 0) << "the mirror's stream has ended";
      at += n;
      length -= n;
    }
  }

  /// Reads frames until `until` holds; what each connection's peer has sent goes to received_, its end to ended_.
  void read_frames(std::function<bool()> until) {
    while (!until() && !HasFatalFailure()) {
      wire::MirrorFrame frame;
      read_exactly(&frame, sizeof frame);
      if (HasFatalFailure()) return;
      ASSERT_EQ(frame.magic, wire::kMirrorMagic);
      ASSERT_LE(frame.len, wire::kMirrorMaxData);
      ASSERT_EQ(ended_.count(frame.conn), 0u) << "a frame after the end";
      if (frame.type == wire::Mirror::kData) {
        ASSERT_GT(frame.len, 0u);
        std::string data(frame.len, '\0');
        read_exactly(data.data(), data.size());
        received_[frame.conn] += data;
      } else {
        ASSERT_EQ(frame.len, 0u);
        ended_[frame.conn] = frame.type;
      }
    }
  }
  void read_frames_until_ended(size_t connections) {
    read_frames([&] { return ended_.size() == connections; });
  }

  /// The mirror has said everything; we hang up; its exit status.
  int end() {
    char byte;
    EXPECT_TRUE(readable(process_.get())) << "the mirror does not come to an end";
    EXPECT_EQ(recv(process_.get(), &byte, 1, MSG_DONTWAIT), 0) << "more than its peers have said";
    process_.reset();
    return status();
  }

  int status() {
    if (status_.wait_for(std::chrono::milliseconds(kLimitMs)) != std::future_status::ready) return -1;
    return status_.get();
  }

  ScopedFd mailbox_, process_, stream_, upstream_;
  std::map<ConnId, ScopedFd> peers_, old_;
  std::map<ConnId, std::string> received_;
  std::map<ConnId, wire::Mirror> ended_;
  std::future<int> status_;
};

TEST_F(MirrorTest, ForwardsWhatThePeersHaveSent) {
  connection(kA);
  connection(kB);
  send_all(peers_[kA], "before the move");
  commit();
  send_all(peers_[kB], "to b");
  send_all(peers_[kA], ", and after");
  for (const ConnId& id : {kA, kB}) shutdown(peers_[id].get(), SHUT_WR);
  read_frames_until_ended(2);
  EXPECT_EQ(received_[kA], "before the move, and after");
  EXPECT_EQ(received_[kB], "to b");
  EXPECT_EQ(ended_[kA], wire::Mirror::kEof);
  for (const ConnId& id : {kA, kB}) half_close(id);
  for (const ConnId& id : {kA, kB}) EXPECT_EQ(read_to_end(peers_[id].get()), "");
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, WhatTheOldProcessWroteReachesThePeer) {
  connection(kA);
  std::string written = pattern(100'000, 3);
  send_all(old_[kA], written);
  commit();
  half_close(kA);
  EXPECT_TRUE(read_to_end(peers_[kA].get()) == written);
  shutdown(peers_[kA].get(), SHUT_WR);
  read_frames_until_ended(1);
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, EndsAnOldStreamOnlyWhenItIsTold) {
  connection(kA);
  connection(kB);
  commit();
  for (const ConnId& id : {kA, kB}) shutdown(peers_[id].get(), SHUT_WR);
  read_frames_until_ended(2);  // it knows that both peers have ended theirs
  half_close(kB);
  EXPECT_EQ(read_to_end(peers_[kB].get()), "");  // it has acted on what we said
  EXPECT_TRUE(nothing_to_read(peers_[kA])) << "A's stream was ended without leave";
  half_close(kA);
  EXPECT_EQ(read_to_end(peers_[kA].get()), "");
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, AStreamThatIsEndedIsStillRead) {
  connection(kA);
  commit();
  half_close(kA);
  EXPECT_EQ(read_to_end(peers_[kA].get()), "");
  std::string late = pattern(300'000, 5);
  std::thread writer([&] {
    send_all(peers_[kA], late);
    shutdown(peers_[kA].get(), SHUT_WR);
  });
  read_frames_until_ended(1);
  writer.join();
  EXPECT_TRUE(received_[kA] == late);
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, MuchDataFromSeveralPeersKeepsItsOrderAndMixesNothing) {
  std::map<ConnId, std::string> sent;
  for (uint64_t i = 0; i < 4; ++i) {
    ConnId id{i, i};
    connection(id);
    sent[id] = pattern(5'000'000 + 1000 * i, static_cast<unsigned>(i));
  }
  commit();
  std::vector<std::thread> writers;
  for (auto& [id, data] : sent)
    writers.emplace_back([&peer = peers_[id], &text = data] {
      send_all(peer, text);
      shutdown(peer.get(), SHUT_WR);
    });
  read_frames_until_ended(4);
  for (auto& writer : writers) writer.join();
  for (auto& [id, data] : sent) {
    EXPECT_TRUE(received_[id] == data) << "connection " << id.hi;
    half_close(id);
  }
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, APeerThatResetsIsReportedAsThat) {
  connection(kA);
  commit();
  linger at_once{1, 0};
  setsockopt(peers_[kA].get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  peers_[kA].reset();
  read_frames_until_ended(1);
  EXPECT_EQ(ended_[kA], wire::Mirror::kReset);
  EXPECT_EQ(end(), 0) << "there is nothing left to say to that peer, with or without leave";
}

TEST_F(MirrorTest, CalledOffItTouchesNothing) {
  connection(kA);
  send_all(peers_[kA], "for the process, not for the mirror");
  send_all(old_[kA], "from the process");
  mailbox_.reset();
  EXPECT_EQ(status(), 0);
  // The process goes on with what it has.
  send_all(old_[kA], ", later");
  shutdown(old_[kA].get(), SHUT_WR);
  EXPECT_EQ(read_to_end(peers_[kA].get()), "from the process, later");
  send_all(peers_[kA], ", and this");
  shutdown(peers_[kA].get(), SHUT_WR);
  EXPECT_EQ(read_to_end(old_[kA].get()), "for the process, not for the mirror, and this");
}

TEST_F(MirrorTest, BeforeTheCommitItReadsNothing) {
  connection(kA);
  send_all(peers_[kA], "early");
  connection(kB);  // whatever it did on the first, it had the time for it: it reads its mailbox in order
  EXPECT_TRUE(readable(old_[kA].get()));
  char got[16];
  EXPECT_EQ(recv(old_[kA].get(), got, sizeof got, MSG_PEEK | MSG_DONTWAIT), 5);
  commit();
  for (const ConnId& id : {kA, kB}) {
    shutdown(peers_[id].get(), SHUT_WR);
    half_close(id);
  }
  read_frames_until_ended(2);
  EXPECT_EQ(received_[kA], "early");
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, ADamagedMailboxIsACallOff) {
  connection(kA);
  post(wire::MailboxRecord{.magic = 0x12345678, .type = wire::Mailbox::kGo}, stream_.get());
  EXPECT_EQ(status(), 0);
  send_all(old_[kA], "alive");
  shutdown(old_[kA].get(), SHUT_WR);
  EXPECT_EQ(read_to_end(peers_[kA].get()), "alive");
}

TEST_F(MirrorTest, WithoutConnectionsItEndsAtOnce) {
  commit();
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, WhenTheProcessDiesPeersGetItsLastWordsAndTheEnd) {
  connection(kA);
  std::string written = pattern(50'000, 9);
  send_all(old_[kA], written);
  commit();
  process_.reset();
  EXPECT_TRUE(read_to_end(peers_[kA].get()) == written);
  send_all(peers_[kA], "into the void");
  peers_[kA].reset();
  EXPECT_EQ(status(), 1);
}

TEST_F(MirrorTest, NonsenseFromTheProcessIsItsDeath) {
  connection(kA);
  commit();
  std::string nonsense(sizeof(wire::MirrorFrame), 'x');
  send_all(process_, nonsense);
  EXPECT_EQ(read_to_end(peers_[kA].get()), "");
  peers_[kA].reset();
  EXPECT_EQ(status(), 1);
}

TEST_F(MirrorTest, AFrameMayComeInPieces) {
  connection(kA);
  commit();
  wire::MirrorFrame frame{.type = wire::Mirror::kHalfClose, .conn = kA};
  std::string bytes(reinterpret_cast<char*>(&frame), sizeof frame);
  int on = 1;
  setsockopt(process_.get(), IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
  for (char byte : bytes) send_all(process_, std::string(1, byte));
  EXPECT_EQ(read_to_end(peers_[kA].get()), "");
  shutdown(peers_[kA].get(), SHUT_WR);
  read_frames_until_ended(1);
  EXPECT_EQ(end(), 0);
}

// ---- a chain of mirrors

TEST_F(MirrorTest, WhatTheMirrorBeforeSaysComesFirst) {
  upstream();
  connection(kA, wire::kAfterUpstream);
  send_all(peers_[kA], "third, ");
  commit();
  send_all(upstream_, frame_text(wire::Mirror::kData, kA, "first, "));
  send_all(upstream_, frame_text(wire::Mirror::kData, kA, "second, "));
  read_frames([&] { return received_[kA] == "first, second, "; });
  EXPECT_TRUE(nothing_to_read(process_)) << "its own came before the other's end";
  send_all(upstream_, frame_text(wire::Mirror::kEof, kA));
  send_all(peers_[kA], "fourth");
  shutdown(peers_[kA].get(), SHUT_WR);
  read_frames_until_ended(1);
  EXPECT_EQ(received_[kA], "first, second, third, fourth");
  EXPECT_EQ(ended_[kA], wire::Mirror::kEof);
  half_close(kA);
  upstream_told(kA);
  upstream_.reset();
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, AConnectionThatHasNoSocketEndsWithTheMirrorBefore) {
  upstream();
  post(wire::Mailbox::kConn, kA, -1, wire::kAfterUpstream);
  post(wire::Mailbox::kConn, kB, -1, wire::kAfterUpstream);
  commit();
  half_close(kA);
  upstream_told(kA);
  send_all(upstream_, frame_text(wire::Mirror::kData, kA, "all of it") + frame_text(wire::Mirror::kEof, kA) +
                          frame_text(wire::Mirror::kReset, kB));
  read_frames_until_ended(2);
  EXPECT_EQ(received_[kA], "all of it");
  EXPECT_EQ(ended_[kA], wire::Mirror::kEof);
  EXPECT_EQ(ended_[kB], wire::Mirror::kReset);
  upstream_.reset();
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, AConnectionWhoseEndHadComeIsEndedOnce) {
  post(wire::Mailbox::kConn, kA);
  commit();
  read_frames_until_ended(1);
  EXPECT_EQ(ended_[kA], wire::Mirror::kEof);
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, AFrameThatTheOldProcessHasHalfRead) {
  std::string whole = frame_text(wire::Mirror::kData, kA, "0123456789");
  upstream(whole.substr(0, sizeof(wire::MirrorFrame)), sizeof(wire::MirrorFrame), 4);
  post(wire::Mailbox::kConn, kA, -1, wire::kAfterUpstream);
  commit();
  send_all(upstream_, "6789" + frame_text(wire::Mirror::kEof, kA));
  read_frames_until_ended(1);
  EXPECT_EQ(received_[kA], "6789");
  upstream_.reset();
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, AHeaderThatTheOldProcessHasHalfRead) {
  std::string whole = frame_text(wire::Mirror::kData, kA, "0123456789");
  upstream(whole.substr(0, 7), 7);
  post(wire::Mailbox::kConn, kA, -1, wire::kAfterUpstream);
  commit();
  send_all(upstream_, whole.substr(7) + frame_text(wire::Mirror::kEof, kA));
  read_frames_until_ended(1);
  EXPECT_EQ(received_[kA], "0123456789");
  upstream_.reset();
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, WhatTheProgramHasClosedIsNotPassedOn) {
  upstream();
  post(wire::Mailbox::kConn, kA, -1, wire::kAfterUpstream);
  commit();
  send_all(upstream_, frame_text(wire::Mirror::kData, kB, "for nobody") + frame_text(wire::Mirror::kEof, kB) +
                          frame_text(wire::Mirror::kEof, kA));
  read_frames_until_ended(1);
  EXPECT_EQ(received_.count(kB), 0u);
  EXPECT_EQ(ended_.count(kB), 0u);
  upstream_.reset();
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, WhenTheMirrorBeforeDiesWhatHungOnItIsReset) {
  upstream();
  connection(kA, wire::kAfterUpstream);
  connection(kB);
  send_all(old_[kA], "last words");
  commit();
  send_all(peers_[kA], "with a gap before it");
  upstream_.reset();
  read_frames_until_ended(1);
  EXPECT_EQ(ended_[kA], wire::Mirror::kReset);
  EXPECT_EQ(received_.count(kA), 0u) << "bytes behind a gap";
  for (const ConnId& id : {kA, kB}) half_close(id);
  EXPECT_EQ(read_to_end(peers_[kA].get()), "last words");
  for (const ConnId& id : {kA, kB}) shutdown(peers_[id].get(), SHUT_WR);
  read_frames_until_ended(2);
  EXPECT_EQ(ended_[kB], wire::Mirror::kEof);
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, OldAndNewSocketOfAConnectionAreReadInOrder) {
  connection(kA, wire::kShut);
  ScopedFd first_peer = std::move(peers_[kA]);
  shutdown(old_[kA].get(), SHUT_WR);  // as the process does when the peer's new connection comes
  connection(kA);
  send_all(peers_[kA], "new");
  send_all(first_peer, "old, ");
  commit();
  read_frames([&] { return received_[kA] == "old, "; });
  EXPECT_TRUE(nothing_to_read(process_));
  half_close(kA);
  EXPECT_EQ(read_to_end(peers_[kA].get()), "");
  shutdown(peers_[kA].get(), SHUT_WR);
  shutdown(first_peer.get(), SHUT_WR);
  read_frames_until_ended(1);
  EXPECT_EQ(received_[kA], "old, new");
  EXPECT_EQ(end(), 0);
}

// ---- a new connection of which nobody knows whether the peer has taken it

TEST_F(MirrorTest, UndecidedAndTaken) {
  upstream();
  post(wire::Mailbox::kConn, kA, -1, wire::kAfterUpstream);
  connection(kA, wire::kUndecided);
  commit();
  std::string answer = answer_text(wire::Verdict::kOk);
  send_all(peers_[kA], answer.substr(0, 20));
  send_all(peers_[kA], answer.substr(20) + "after the switch");
  upstream_told(kA);
  send_all(upstream_, frame_text(wire::Mirror::kData, kA, "before, "));
  send_all(upstream_, frame_text(wire::Mirror::kEof, kA));
  read_frames([&] { return received_[kA] == "before, after the switch"; });
  EXPECT_EQ(ended_.size(), 0u) << "the peer has not left that connection";
  half_close(kA);
  upstream_told(kA);
  EXPECT_EQ(read_to_end(peers_[kA].get()), "");
  shutdown(peers_[kA].get(), SHUT_WR);
  read_frames_until_ended(1);
  upstream_.reset();
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, UndecidedAndTakenAfterTheMirrorBeforeHasEnded) {
  post(wire::Mailbox::kConn, kA);
  connection(kA, wire::kUndecided);
  commit();
  half_close(kA);
  send_all(peers_[kA], answer_text(wire::Verdict::kOk) + "late");
  EXPECT_EQ(read_to_end(peers_[kA].get()), "");
  shutdown(peers_[kA].get(), SHUT_WR);
  read_frames_until_ended(1);
  EXPECT_EQ(received_[kA], "late");
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, UndecidedAndNotTaken) {
  upstream();
  for (const ConnId& id : {kA, kB}) {
    post(wire::Mailbox::kConn, id, -1, wire::kAfterUpstream);
    connection(id, wire::kUndecided);
  }
  commit();
  for (const ConnId& id : {kA, kB})
    send_all(upstream_, frame_text(wire::Mirror::kData, id, "all") + frame_text(wire::Mirror::kEof, id));
  read_frames([&] { return received_[kA] == "all" && received_[kB] == "all"; });
  EXPECT_EQ(ended_.size(), 0u) << "ended before it was decided";
  send_all(peers_[kA], answer_text(wire::Verdict::kNotYet));
  peers_[kB].reset();
  read_frames_until_ended(2);
  EXPECT_EQ(ended_[kA], wire::Mirror::kEof);
  EXPECT_EQ(ended_[kB], wire::Mirror::kEof);
  upstream_.reset();
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, UndecidedWhenTheProcessDies) {
  connection(kA, wire::kUndecided);
  commit();
  process_.reset();
  send_all(peers_[kA], answer_text(wire::Verdict::kOk) + "into the void");
  EXPECT_EQ(read_to_end(peers_[kA].get()), "");
  peers_[kA].reset();
  EXPECT_EQ(status(), 1);
}

}  // namespace
}  // namespace msocket::mirror
