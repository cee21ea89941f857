// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A chain of mirrors, and new connections of which nobody knows whether the peer has taken them.
#include "tests/unit/mirror_fixture.h"

namespace msocket::mirror {
namespace {

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
  EXPECT_EQ(read_to_end(peers_[kA].get()), " ECONNRESET");
  EXPECT_EQ(status(), 1);
}

// The peer may have taken it and written on it: its mirror has died since, and the bytes with it.
TEST_F(MirrorTest, UndecidedAndResetIsNoEnd) {
  upstream();
  for (const ConnId& id : {kA, kB}) {
    post(wire::Mailbox::kConn, id, -1, wire::kAfterUpstream);
    connection(id, wire::kUndecided);
  }
  commit();
  send_all(peers_[kB], answer_text(wire::Verdict::kOk).substr(0, 20));
  for (const ConnId& id : {kA, kB}) reset(&peers_[id]);
  read_frames_until_ended(2);
  EXPECT_EQ(ended_[kA], wire::Mirror::kReset);
  EXPECT_EQ(ended_[kB], wire::Mirror::kReset);
  upstream_.reset();
  EXPECT_EQ(end(), 0);
}

// The process has died, or the mirror behind this one: the mirror before is to know which peers have switched.
TEST_F(MirrorTest, WhenTheProcessDiesTheMirrorBeforeHearsWhatItHadSaid) {
  upstream();
  connection(kA, wire::kAfterUpstream);
  connection(kB, wire::kAfterUpstream);
  commit();
  send_all(upstream_, frame_text(wire::Mirror::kData, kA, "nobody reads this any more"));
  half_close(kA);
  process_.reset();
  upstream_told(kA);
  EXPECT_EQ(read_to_end(upstream_.get()), "");
  EXPECT_EQ(read_to_end(peers_[kA].get()), "");
  EXPECT_EQ(read_to_end(peers_[kB].get()), " ECONNRESET");
  peers_[kA].reset();
  upstream_.reset();
  EXPECT_EQ(status(), 1);
}

}  // namespace
}  // namespace msocket::mirror
