// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/auth.h"

#include <gtest/gtest.h>
#include <stddef.h>

#include <cstring>
#include <set>
#include <stdexcept>
#include <string>

#include "src/wire/conn_header.h"
#include "src/wire/control.h"
#include "src/wire/image.h"
#include "src/wire/mirror_frame.h"
#include "src/wire/port.h"
#include "tests/unit/run_loop.h"

namespace msocket::wire {
namespace {

// ---- what crosses hosts or reaches a disk ----

// A change of one of these numbers is another format: raise the version that stands above it, here and in its header, and
// write it down in doc/wire-format.md or doc/image-format.md.

#define EXPECT_LAYOUT(type, size) EXPECT_EQ(sizeof(type), size##u) << #type
#define EXPECT_AT(type, member, offset) EXPECT_EQ(offsetof(type, member), offset##u) << #type "::" #member

TEST(Layout, OfThePort) {
  EXPECT_EQ(kPortVersion, 1);
  EXPECT_EQ(kPortMagic, 0x6d73706fu);
  EXPECT_LAYOUT(Endpoint, 8);
  EXPECT_AT(Endpoint, port, 4);
  EXPECT_LAYOUT(ConnId, 16);
  EXPECT_LAYOUT(Greeting, 40);
  EXPECT_AT(Greeting, version, 4);
  EXPECT_AT(Greeting, nonce, 8);
  EXPECT_LAYOUT(Preamble, 8);
  EXPECT_AT(Preamble, version, 4);
  EXPECT_AT(Preamble, purpose, 6);
  EXPECT_LAYOUT(LinkHello, 72);
  EXPECT_AT(LinkHello, nonce, 8);
  EXPECT_AT(LinkHello, tag, 40);
  EXPECT_LAYOUT(ConnHeader, 120);
  EXPECT_AT(ConnHeader, conn, 8);
  EXPECT_AT(ConnHeader, from, 24);
  EXPECT_AT(ConnHeader, to, 32);
  EXPECT_AT(ConnHeader, from_gen, 40);
  EXPECT_AT(ConnHeader, to_gen, 44);
  EXPECT_AT(ConnHeader, flags, 48);
  EXPECT_AT(ConnHeader, job, 56);
  EXPECT_AT(ConnHeader, tag, 88);
  EXPECT_LAYOUT(Answer, 48);
  EXPECT_AT(Answer, verdict, 4);
  EXPECT_AT(Answer, gen, 8);
  EXPECT_AT(Answer, tag, 16);
  EXPECT_EQ(static_cast<int>(Purpose::kLink), 1);
  EXPECT_EQ(static_cast<int>(Purpose::kOpen), 2);
  EXPECT_EQ(static_cast<int>(Purpose::kRedirect), 3);
  EXPECT_EQ(static_cast<int>(Purpose::kImage), 4);
  EXPECT_EQ(static_cast<int>(Purpose::kMirror), 5);
  EXPECT_EQ(static_cast<int>(Purpose::kStandby), 6);
  EXPECT_EQ(static_cast<int>(Verdict::kOk), 0);
  EXPECT_EQ(static_cast<int>(Verdict::kRefused), 1);
  EXPECT_EQ(static_cast<int>(Verdict::kMoved), 2);
  EXPECT_EQ(static_cast<int>(Verdict::kGone), 3);
  EXPECT_EQ(static_cast<int>(Verdict::kNotYet), 4);
  EXPECT_EQ(kOpenerAwaits, 1u);
}

// The mirror's stream has no version of its own: it is opened through the port.
TEST(Layout, OfTheMirrorsStream) {
  EXPECT_EQ(kPortVersion, 1);
  EXPECT_EQ(kMirrorMagic, 0x6d736d66u);
  EXPECT_EQ(kMirrorMaxData, 65536u);
  EXPECT_LAYOUT(MirrorFrame, 32);
  EXPECT_AT(MirrorFrame, type, 4);
  EXPECT_AT(MirrorFrame, conn, 8);
  EXPECT_AT(MirrorFrame, len, 24);
  EXPECT_EQ(static_cast<int>(Mirror::kData), 1);
  EXPECT_EQ(static_cast<int>(Mirror::kEof), 2);
  EXPECT_EQ(static_cast<int>(Mirror::kReset), 3);
  EXPECT_EQ(static_cast<int>(Mirror::kHalfClose), 4);
}

TEST(Layout, OfTheControlChannel) {
  EXPECT_EQ(kControlVersion, 1);
  EXPECT_EQ(kControlMagic, 0x6d73636cu);
  EXPECT_LAYOUT(ControlRecord, 328);
  EXPECT_AT(ControlRecord, type, 6);
  EXPECT_AT(ControlRecord, conn, 8);
  EXPECT_AT(ControlRecord, local, 24);
  EXPECT_AT(ControlRecord, peer, 32);
  EXPECT_AT(ControlRecord, local_gen, 40);
  EXPECT_AT(ControlRecord, peer_gen, 44);
  EXPECT_AT(ControlRecord, error, 48);
  EXPECT_AT(ControlRecord, flags, 52);
  EXPECT_AT(ControlRecord, arg0, 56);
  EXPECT_AT(ControlRecord, arg1, 64);
  EXPECT_AT(ControlRecord, text, 72);
  EXPECT_LAYOUT(AcceptRecord, 32);
  EXPECT_AT(AcceptRecord, peer_gen, 4);
  EXPECT_AT(AcceptRecord, conn, 8);
  EXPECT_AT(AcceptRecord, peer, 24);
  EXPECT_LAYOUT(MailboxRecord, 72);
  EXPECT_AT(MailboxRecord, conn, 8);
  EXPECT_AT(MailboxRecord, flags, 24);
  EXPECT_AT(MailboxRecord, frame, 40);
  EXPECT_EQ(static_cast<int>(Control::kHello), 1);
  EXPECT_EQ(static_cast<int>(Control::kSettled), 9);
  EXPECT_EQ(static_cast<int>(Control::kStart), 64);
  EXPECT_EQ(static_cast<int>(Control::kResume), 70);
  EXPECT_EQ(kAnswerLength, sizeof(Answer));
  EXPECT_EQ(kControlFd, 1000);
  EXPECT_EQ(kControlSignal, 60);
}

TEST(Layout, OfTheImage) {
  EXPECT_EQ(kImageVersion, 3u);
  EXPECT_LAYOUT(ImageStart, 32);
  EXPECT_AT(ImageStart, version, 8);
  EXPECT_AT(ImageStart, vdso_start, 16);
  EXPECT_EQ(kImageMagic, 0x31676d4974656b73u);
  EXPECT_LAYOUT(ImageHeader, 128);
  EXPECT_AT(ImageHeader, version, 8);
  EXPECT_AT(ImageHeader, regions, 16);
  EXPECT_AT(ImageHeader, threads, 20);
  EXPECT_AT(ImageHeader, vdso_start, 24);
  EXPECT_AT(ImageHeader, brk_end, 40);
  EXPECT_AT(ImageHeader, context, 48);
  EXPECT_AT(ImageHeader, tid_field, 72);
  EXPECT_AT(ImageHeader, rseq_area, 104);
  EXPECT_AT(ImageHeader, thread_list, 120);
  EXPECT_LAYOUT(ImageRegion, 240);
  EXPECT_AT(ImageRegion, offset, 16);
  EXPECT_AT(ImageRegion, prot, 24);
  EXPECT_AT(ImageRegion, kind, 28);
  EXPECT_AT(ImageRegion, all, 32);
  EXPECT_AT(ImageRegion, path, 40);
  EXPECT_LAYOUT(ImageRun, 24);
  EXPECT_AT(ImageRun, addr, 8);
  EXPECT_LAYOUT(SentRun, 24);
}

// ---- keys and tags ----

class Auth : public testing::Test {
 protected:
  static void SetUpTestSuite() { auth_init(); }
};

TEST_F(Auth, AKeyTravelsAsHexadecimalDigits) {
  Key key = random_key();
  std::string hex = key_to_hex(key);
  EXPECT_EQ(hex.size(), 64u);
  EXPECT_EQ(key_from_hex(hex), key);
  EXPECT_EQ(key_from_hex(hex + "\n"), key);
  for (const std::string& bad : {std::string(), hex.substr(2), hex + "00", "x" + hex.substr(1), std::string("no key")})
    EXPECT_THROW(key_from_hex(bad), std::runtime_error) << bad;
}

TEST_F(Auth, KeysAndNoncesDiffer) {
  EXPECT_NE(random_key(), random_key());
  EXPECT_NE(random_nonce(), random_nonce());
  Key cluster = random_key(), other = random_key();
  std::set<Key> keys = {cluster, other, job_key(cluster, "1"), job_key(cluster, "2"), job_key(other, "1"),
                        derive_key(cluster, "1"), job_key(cluster, "")};
  EXPECT_EQ(keys.size(), 7u);
  EXPECT_EQ(job_key(cluster, "1"), job_key(cluster, "1"));
}

ConnHeader some_header() {
  ConnHeader header;
  header.preamble.purpose = Purpose::kOpen;
  header.conn = {1, 2};
  header.from = {0xf0000001, 40000, 0};
  header.to = {0xf0000002, 5000, 0};
  strcpy(header.job, "17");
  return header;
}

TEST_F(Auth, ATagDependsOnEveryByteTheNonceAndTheKey) {
  Key key = random_key();
  Greeting greeting;
  greeting.nonce = random_nonce();
  ConnHeader header = some_header();
  Tag tag = make_tag(key, bytes_of(greeting), before_tag(header));
  EXPECT_TRUE(same_tag(tag, make_tag(key, bytes_of(greeting), before_tag(header))));
  for (size_t i = 0; i < sizeof header - sizeof header.tag; ++i) {
    ConnHeader changed = header;
    reinterpret_cast<uint8_t*>(&changed)[i] ^= 0x10;
    EXPECT_FALSE(same_tag(tag, make_tag(key, bytes_of(greeting), before_tag(changed)))) << "byte " << i;
  }
  for (size_t i = 0; i < greeting.nonce.size(); ++i) {
    Greeting changed = greeting;
    changed.nonce[i] ^= 1;
    EXPECT_FALSE(same_tag(tag, make_tag(key, bytes_of(changed), before_tag(header)))) << "nonce byte " << i;
  }
  EXPECT_FALSE(same_tag(tag, make_tag(random_key(), bytes_of(greeting), before_tag(header))));
  ConnHeader tagged = header;
  tagged.tag = tag;
  EXPECT_TRUE(same_tag(tag, make_tag(key, bytes_of(greeting), before_tag(tagged)))) << "the tag does not cover itself";
}

// ---- the first round trip on a port ----

/// One accepted connection: who it was, or why it was turned away.
class Port : public Auth {
 protected:
  Port() : acceptor_(io_, tcp::endpoint(asio::ip::make_address("127.0.0.1"), 0)) {}

  uint16_t port() const { return acceptor_.local_endpoint().port(); }

  /// Serves `count` callers; `verdict` is what data connections are told.
  void serve(int count = 1, Verdict verdict = Verdict::kOk) {
    spawn(io_.get_executor(), [this, count, verdict]() -> awaitable<void> {
      for (int i = 0; i < count; ++i) {
        tcp::socket socket = co_await acceptor_.async_accept(use_awaitable);
        std::string why;
        Caller caller;
        try {
          caller = co_await greet(socket, cluster_, Millis(2000));
          if (caller.data) {
            Key answering = forge_answers_ ? random_key() : cluster_;
            co_await answer(socket, caller, answering, verdict, 7);
          }
        } catch (const std::exception& error) {
          why = error.what();
        }
        callers_.push_back(caller);
        refused_.push_back(why);
        kept_.push_back(std::move(socket));
        if (!why.empty()) kept_.back().close();
      }
    });
  }

  /// What the opener gets: the verdict, or an exception.
  awaitable<Answer> open(ConnHeader header, Key job) {
    DataStream data = co_await open_data(io_.get_executor(), "127.0.0.1", port(), header, job, Millis(2000));
    co_return data.answer;
  }

  std::string run(std::function<awaitable<void>()> work) { return run_until_done(io_, std::move(work)); }

  asio::io_context io_{1};
  tcp::acceptor acceptor_;
  Key cluster_ = random_key();
  bool forge_answers_ = false;
  std::vector<Caller> callers_;
  std::vector<std::string> refused_;
  std::vector<tcp::socket> kept_;
};

TEST_F(Port, TheRightKeyIsLetIn) {
  serve(1, Verdict::kMoved);
  std::string why = run([&]() -> awaitable<void> {
    Answer got = co_await open(some_header(), job_key(cluster_, "17"));
    EXPECT_EQ(got.verdict, Verdict::kMoved);
    EXPECT_EQ(got.gen, 7u);
  });
  EXPECT_EQ(why, "");
  ASSERT_EQ(callers_.size(), 1u);
  ASSERT_TRUE(callers_[0].data);
  EXPECT_EQ(callers_[0].data->conn, (ConnId{1, 2}));
  EXPECT_EQ(std::string(callers_[0].data->job), "17");
}

TEST_F(Port, AnotherJobsKeyIsNot) {
  serve(2);
  EXPECT_NE(run([&]() -> awaitable<void> { co_await open(some_header(), job_key(cluster_, "18")); }), "");
  EXPECT_NE(run([&]() -> awaitable<void> { co_await open(some_header(), cluster_); }), "");
  ASSERT_EQ(refused_.size(), 2u);
  EXPECT_EQ(refused_[0], meaning(Reason::kTag));
  EXPECT_EQ(refused_[1], meaning(Reason::kTag));
}

TEST_F(Port, AJobThatNamesAnotherIsNot) {
  // It knows its own key and claims to be of job 17.
  serve();
  ConnHeader header = some_header();
  EXPECT_NE(run([&]() -> awaitable<void> { co_await open(header, job_key(cluster_, "99")); }), "");
  EXPECT_EQ(refused_, std::vector<std::string>{meaning(Reason::kTag)});
}

TEST_F(Port, AChangedByteIsNoticed) {
  constexpr size_t kSome[] = {6, 8, 25, 40, 48, 56, 86, 88, 119};
  serve(std::size(kSome));
  std::string why = run([&]() -> awaitable<void> {
    for (size_t at : kSome) {
      PortStream stream = co_await open_port(io_.get_executor(), "127.0.0.1", port(), Millis(2000));
      ConnHeader header = some_header();
      header.tag = make_tag(job_key(cluster_, "17"), bytes_of(stream.greeting), before_tag(header));
      reinterpret_cast<uint8_t*>(&header)[at] ^= 1;
      co_await asio::async_write(stream.socket, asio::buffer(&header, sizeof header), use_awaitable);
      char byte;
      boost::system::error_code error;
      co_await asio::async_read(stream.socket, asio::buffer(&byte, 1), asio::redirect_error(use_awaitable, error));
      EXPECT_TRUE(error) << "byte " << at << " was answered";
    }
  });
  EXPECT_EQ(why, "");
  ASSERT_EQ(refused_.size(), std::size(kSome));
  for (size_t i = 0; i < std::size(kSome); ++i) EXPECT_NE(refused_[i], "") << "byte " << kSome[i];
}

TEST_F(Port, WhatWasSaidBeforeCannotBeSaidAgain) {
  serve(2);
  std::string why = run([&]() -> awaitable<void> {
    PortStream first = co_await open_port(io_.get_executor(), "127.0.0.1", port(), Millis(2000));
    ConnHeader header = some_header();
    header.tag = make_tag(job_key(cluster_, "17"), bytes_of(first.greeting), before_tag(header));
    Answer said;
    co_await asio::async_write(first.socket, asio::buffer(&header, sizeof header), use_awaitable);
    co_await asio::async_read(first.socket, asio::buffer(&said, sizeof said), use_awaitable);
    PortStream second = co_await open_port(io_.get_executor(), "127.0.0.1", port(), Millis(2000));
    EXPECT_NE(first.greeting.nonce, second.greeting.nonce);
    co_await asio::async_write(second.socket, asio::buffer(&header, sizeof header), use_awaitable);
    boost::system::error_code error;
    co_await asio::async_read(second.socket, asio::buffer(&said, sizeof said), asio::redirect_error(use_awaitable, error));
    EXPECT_TRUE(error);
  });
  EXPECT_EQ(why, "");
  EXPECT_EQ(refused_, (std::vector<std::string>{"", meaning(Reason::kTag)}));
}

TEST_F(Port, TheAcceptorMustKnowTheKeyToo) {
  forge_answers_ = true;
  serve();
  std::string why = run([&]() -> awaitable<void> { co_await open(some_header(), job_key(cluster_, "17")); });
  EXPECT_NE(why.find("does not authenticate"), std::string::npos) << why;
}

TEST_F(Port, AnotherVersionIsNamed) {
  spawn(io_.get_executor(), [this]() -> awaitable<void> {
    tcp::socket socket = co_await acceptor_.async_accept(use_awaitable);
    Greeting greeting;
    greeting.version = kPortVersion + 1;
    co_await asio::async_write(socket, asio::buffer(&greeting, sizeof greeting), use_awaitable);
    kept_.push_back(std::move(socket));
  });
  std::string why = run([&]() -> awaitable<void> { co_await open(some_header(), job_key(cluster_, "17")); });
  EXPECT_NE(why.find("another version"), std::string::npos) << why;
}

TEST_F(Port, ASilentCallerIsNotWaitedForForever) {
  spawn(io_.get_executor(), [this]() -> awaitable<void> {
    tcp::socket socket = co_await acceptor_.async_accept(use_awaitable);
    try {
      co_await greet(socket, cluster_, Millis(50));
    } catch (const std::exception&) {
      refused_.push_back("gave up");
    }
  });
  std::string why = run([&]() -> awaitable<void> {
    PortStream stream = co_await open_port(io_.get_executor(), "127.0.0.1", port(), Millis(2000));
    char byte;
    boost::system::error_code error;
    co_await asio::async_read(stream.socket, asio::buffer(&byte, 1), asio::redirect_error(use_awaitable, error));
    EXPECT_TRUE(error);
  });
  EXPECT_EQ(why, "");
  EXPECT_EQ(refused_, std::vector<std::string>{"gave up"});
}

}  // namespace
}  // namespace msocket::wire
