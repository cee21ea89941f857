// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <random>

#include "src/wire/streams.h"

namespace msocket {
namespace {

TEST(StreamOut, CutsIntoChunksAndMarksTheLast) {
  StreamOut out;
  out.append(std::string(kStreamChunk + 5, 'x'));
  out.finish();
  auto first = out.next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->offset, 0u);
  EXPECT_EQ(first->data.size(), kStreamChunk);
  EXPECT_FALSE(first->eof);
  auto second = out.next();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->offset, kStreamChunk);
  EXPECT_EQ(second->data.size(), 5u);
  EXPECT_TRUE(second->eof);
  EXPECT_FALSE(out.next());
}

TEST(StreamOut, IsFullAtTheWindowAndHasRoomAfterAnAcknowledgement) {
  StreamOut out;
  out.append(std::string(kStreamWindow, 'x'));
  EXPECT_TRUE(out.full());
  out.ack(1);
  EXPECT_FALSE(out.full());
  EXPECT_EQ(out.acked(), 1u);
}

TEST(StreamOut, SendsAgainWhatIsNotAcknowledged) {
  StreamOut out;
  out.append("abcdef");
  out.next();
  out.ack(2);
  EXPECT_FALSE(out.next());
  out.rewind();
  auto chunk = out.next();
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->offset, 2u);
  EXPECT_EQ(chunk->data, "cdef");
}

TEST(StreamOut, IsFinishedOnlyWhenTheEndItselfIsAcknowledged) {
  StreamOut out;
  out.append("abc");
  out.finish();
  out.ack(3);
  EXPECT_FALSE(out.finished());
  auto chunk = out.next();
  ASSERT_TRUE(chunk);
  EXPECT_TRUE(chunk->eof);
  EXPECT_TRUE(chunk->data.empty());
  EXPECT_EQ(chunk->offset, 3u);
  out.ack(4);
  EXPECT_TRUE(out.finished());
  EXPECT_EQ(out.acked(), 3u);
  out.rewind();
  EXPECT_FALSE(out.next());
}

TEST(StreamOut, IgnoresOldAndExcessiveAcknowledgements) {
  StreamOut out;
  out.append("abc");
  out.ack(2);
  out.ack(1);
  EXPECT_EQ(out.acked(), 2u);
  out.ack(100);
  EXPECT_EQ(out.acked(), 3u);
  EXPECT_FALSE(out.finished());
}

TEST(StreamOut, GoesOnFromAnotherOnesState) {
  StreamOut out;
  out.append("abcdef");
  out.next();
  out.ack(4);
  out.finish();
  StreamOut other = StreamOut::restore(out.acked(), out.pending(), out.eof());
  auto chunk = other.next();
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->offset, 4u);
  EXPECT_EQ(chunk->data, "ef");
  EXPECT_TRUE(chunk->eof);
}

TEST(StreamIn, DropsDuplicatesAndTrimsOverlaps) {
  StreamIn in;
  in.add(0, "abc", false);
  in.add(0, "abc", false);
  in.add(1, "bcde", false);
  EXPECT_EQ(in.take(), "abcde");
  EXPECT_EQ(in.received(), 5u);
}

TEST(StreamIn, HoldsWhatIsBeyondAGap) {
  StreamIn in;
  in.add(3, "def", true);
  EXPECT_EQ(in.take(), "");
  EXPECT_EQ(in.received(), 0u);
  EXPECT_FALSE(in.ended());
  in.add(0, "abcd", false);
  EXPECT_EQ(in.take(), "abcdef");
  EXPECT_TRUE(in.ended());
  EXPECT_EQ(in.received(), 7u);
}

TEST(StreamIn, AcknowledgesConsumptionApartFromArrival) {
  StreamIn in;
  in.add(0, "abc", true);
  EXPECT_EQ(in.received(), 4u);
  EXPECT_EQ(in.taken(), 0u);
  in.take();
  EXPECT_EQ(in.taken(), 4u);
}

TEST(StreamIn, GoesOnFromAnotherOnesState) {
  StreamIn in = StreamIn::restore(10, "xyz", false);
  in.add(8, "????????", false);  // 10 to 12 are known
  EXPECT_EQ(in.take(), "xyz???");
  EXPECT_TRUE(StreamIn::restore(4, "", true).ended());
  EXPECT_EQ(StreamIn::restore(4, "", true).received(), 5u);
}

// Two senders of one stream, as at a move: the old one's chunks and the new one's arrive mixed, some twice.
TEST(Streams, AnyOrderOfChunksGivesTheSameBytes) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; round++) {
    std::string text(1 + random() % 5000, '\0');
    for (char& c : text) c = random();
    StreamIn in;
    std::string got;
    while (!in.ended()) {
      size_t from = random() % (text.size() + 1);
      size_t length = std::min<size_t>(random() % 700, text.size() - from);
      in.add(from, std::string_view(text).substr(from, length), from + length == text.size());
      got += in.take();
    }
    ASSERT_EQ(got, text);
  }
}

}  // namespace
}  // namespace msocket
