// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A mirror alone: what it forwards, when it ends a stream, and when it does not.
#include "tests/unit/mirror_fixture.h"

namespace msocket::mirror {
namespace {

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
  reset(&peers_[kA]);
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

// It is not known whether the mirror behind has died or the program has: an end would say that the program ended its stream.
TEST_F(MirrorTest, WhenTheProcessDiesPeersGetItsLastWordsAndNoEnd) {
  connection(kA);
  std::string written = pattern(50'000, 9);
  send_all(old_[kA], written);
  commit();
  send_all(peers_[kA], "into the void");
  process_.reset();
  EXPECT_TRUE(read_to_end(peers_[kA].get()) == written + " ECONNRESET");
  EXPECT_EQ(status(), 1);
}

TEST_F(MirrorTest, WhenTheProcessDiesWhatThePeerHasLeftStillEnds) {
  connection(kA);
  send_all(old_[kA], "last words");
  commit();
  half_close(kA);
  process_.reset();
  EXPECT_EQ(read_to_end(peers_[kA].get()), "last words");
  peers_[kA].reset();
  EXPECT_EQ(status(), 1);
}

// What the peer has not taken stays unsent for ever.
TEST_F(MirrorTest, APeerThatResetsBeforeItHasReadIsNotWaitedFor) {
  connection(kA);
  std::string much = pattern(100'000, 4);
  while (send(old_[kA].get(), much.data(), much.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
  commit();
  half_close(kA);
  peers_[kA].reset();
  read_frames_until_ended(1);
  EXPECT_EQ(ended_[kA], wire::Mirror::kReset);
  EXPECT_EQ(end(), 0);
}

TEST_F(MirrorTest, NonsenseFromTheProcessIsItsDeath) {
  connection(kA);
  commit();
  std::string nonsense(sizeof(wire::MirrorFrame), 'x');
  send_all(process_, nonsense);
  EXPECT_EQ(read_to_end(peers_[kA].get()), " ECONNRESET");
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

}  // namespace
}  // namespace msocket::mirror
