// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/link.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "src/daemons/port_server.h"
#include "tests/unit/run_loop.h"

namespace msocket {
namespace {

class LinkTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { wire::auth_init(); }

  /// Listens; every link that comes is served by `on_request` and its notices are noted.
  void listen() {
    server_ = std::make_shared<daemons::PortServer>(io_.get_executor(), "127.0.0.1", 0, cluster_);
    server_->start(
        [this](Link::Ptr link) {
          accepted_.push_back(link);
          link->start(on_request_, [this](Link::Ptr, const proto::Envelope& notice) { notices_.push_back(notice); },
                      [this](Link::Ptr) { ++closed_; });
        },
        [this](tcp::socket, wire::Caller) -> awaitable<void> {
          ++data_;
          co_return;
        });
  }

  awaitable<Link::Ptr> connect(wire::Key key) {
    Link::Ptr link = co_await Link::connect(io_.get_executor(), "127.0.0.1", server_->port(), key, Millis(2000));
    link->start({}, {}, {});
    co_return link;
  }

  std::string run(std::function<awaitable<void>()> work) { return run_until_done(io_, std::move(work)); }

  /// Lets the loop go on until `condition` holds.
  bool wait(std::function<bool()> condition) {
    auto deadline = Clock::now() + Millis(5000);
    io_.restart();
    while (!condition() && Clock::now() < deadline) io_.run_one_for(Millis(10));
    return condition();
  }

  void TearDown() override {
    for (auto& link : accepted_) link->close();
    if (server_) server_->stop();
    io_.restart();
    io_.run_for(Millis(50));
  }

  static proto::Envelope signal(int number) {
    proto::Envelope envelope;
    envelope.mutable_signal_rank()->set_signo(number);
    return envelope;
  }

  asio::io_context io_{1};
  wire::Key cluster_ = wire::random_key();
  std::shared_ptr<daemons::PortServer> server_;
  Link::OnRequest on_request_;
  std::vector<Link::Ptr> accepted_;
  std::vector<proto::Envelope> notices_;
  int closed_ = 0, data_ = 0;
};

TEST_F(LinkTest, ACallIsAnswered) {
  on_request_ = [](Link::Ptr, proto::Envelope request, proto::Envelope& reply) -> awaitable<void> {
    reply.mutable_new_job()->set_job(request.new_job().user() + "'s");
    co_return;
  };
  listen();
  std::string why = run([&]() -> awaitable<void> {
    Link::Ptr link = co_await connect(cluster_);
    proto::Envelope request;
    request.mutable_new_job()->set_user("ada");
    proto::Envelope reply = co_await link->call(request);
    EXPECT_EQ(reply.new_job().job(), "ada's");
    EXPECT_TRUE(reply.reply());
    link->close();
  });
  EXPECT_EQ(why, "");
}

TEST_F(LinkTest, AnswersFindTheirQuestionsInAnyOrder) {
  on_request_ = [](Link::Ptr, proto::Envelope request, proto::Envelope& reply) -> awaitable<void> {
    uint32_t rank = request.lookup().rank();
    co_await sleep_for(Millis(rank == 1 ? 60 : 5));
    reply.mutable_lookup()->set_rank(rank + 100);
  };
  listen();
  std::vector<uint32_t> order;
  std::string why = run([&]() -> awaitable<void> {
    Link::Ptr link = co_await connect(cluster_);
    int left = 2;
    Event done(io_.get_executor());
    for (uint32_t rank : {1u, 2u}) {
      spawn(io_.get_executor(), [&, link, rank]() -> awaitable<void> {
        proto::Envelope request;
        request.mutable_lookup()->set_rank(rank);
        proto::Envelope reply = co_await link->call(request);
        order.push_back(reply.lookup().rank());
        --left;
        done.notify();
      });
    }
    co_await wait_until(done, Millis(5000), [&] { return left == 0; });
    link->close();
  });
  EXPECT_EQ(why, "");
  EXPECT_EQ(order, (std::vector<uint32_t>{102, 101}));
}

TEST_F(LinkTest, AnExceptionThereIsTheErrorHere) {
  on_request_ = [](Link::Ptr, proto::Envelope, proto::Envelope& reply) -> awaitable<void> {
    reply.mutable_new_job()->set_job("half done");
    throw std::runtime_error("node b has no room");
    co_return;
  };
  listen();
  std::string second;
  std::string why = run([&]() -> awaitable<void> {
    Link::Ptr link = co_await connect(cluster_);
    proto::Envelope request;
    request.mutable_new_job();
    try {
      co_await link->call(request);
    } catch (const std::exception& error) {
      second = error.what();
    }
    EXPECT_TRUE(link->open()) << "an error is an answer, not the end";
    co_await link->call(request);
  });
  EXPECT_EQ(second, "node b has no room");
  EXPECT_EQ(why, "node b has no room");
}

TEST_F(LinkTest, AnEndThatTakesNoRequestsSaysSo) {
  listen();
  std::string why = run([&]() -> awaitable<void> {
    Link::Ptr link = co_await connect(cluster_);
    proto::Envelope request;
    request.mutable_list_nodes();
    co_await link->call(request);
  });
  EXPECT_NE(why.find("takes no requests"), std::string::npos) << why;
}

TEST_F(LinkTest, NoticesKeepTheirOrder) {
  listen();
  Link::Ptr kept;
  EXPECT_EQ(run([&]() -> awaitable<void> {
    kept = co_await connect(cluster_);
    for (int i = 0; i < 500; ++i) kept->notify(signal(i));
  }), "");
  ASSERT_TRUE(wait([&] { return notices_.size() == 500; })) << notices_.size();
  for (int i = 0; i < 500; ++i) ASSERT_EQ(notices_[i].signal_rank().signo(), i);
  kept->close();
}

TEST_F(LinkTest, LargeEnvelopesArriveWhole) {
  listen();
  Link::Ptr kept;
  std::string bytes(3'000'000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 >> 3);
  EXPECT_EQ(run([&]() -> awaitable<void> {
    kept = co_await connect(cluster_);
    proto::Envelope notice;
    notice.mutable_stream_data()->set_data(bytes);
    kept->notify(notice);
    kept->notify(signal(1));
  }), "");
  ASSERT_TRUE(wait([&] { return notices_.size() == 2; }));
  EXPECT_TRUE(notices_[0].stream_data().data() == bytes);
  EXPECT_EQ(notices_[1].signal_rank().signo(), 1);
  kept->close();
}

TEST_F(LinkTest, ACallThatIsNotAnsweredInTimeFails) {
  on_request_ = [](Link::Ptr, proto::Envelope, proto::Envelope&) -> awaitable<void> { co_await sleep_for(Millis(3000)); };
  listen();
  std::string why = run([&]() -> awaitable<void> {
    Link::Ptr link = co_await connect(cluster_);
    proto::Envelope request;
    request.mutable_list_nodes();
    co_await link->call(request, Millis(50));
  });
  EXPECT_NE(why.find("no answer in time"), std::string::npos) << why;
}

TEST_F(LinkTest, TheOtherEndsDeathEndsACall) {
  on_request_ = [this](Link::Ptr link, proto::Envelope, proto::Envelope&) -> awaitable<void> {
    link->close();
    co_return;
  };
  listen();
  std::string why = run([&]() -> awaitable<void> {
    Link::Ptr link = co_await connect(cluster_);
    proto::Envelope request;
    request.mutable_list_nodes();
    co_await link->call(request, Millis(5000));
  });
  EXPECT_NE(why.find("closed"), std::string::npos) << why;
  EXPECT_TRUE(wait([&] { return closed_ == 1; }));
}

TEST_F(LinkTest, AnotherClustersKeyIsRefused) {
  listen();
  std::string why = run([&]() -> awaitable<void> { co_await connect(wire::random_key()); });
  EXPECT_NE(why.find("another cluster's key?"), std::string::npos) << why;
  EXPECT_TRUE(accepted_.empty());
  EXPECT_TRUE(wait([&] { return server_->strangers() == 1; }));
}

TEST_F(LinkTest, AJobsKeyOpensNoLink) {
  listen();
  EXPECT_NE(run([&]() -> awaitable<void> { co_await connect(wire::job_key(cluster_, "1")); }), "");
  EXPECT_TRUE(accepted_.empty());
}

TEST_F(LinkTest, StrangersAreDroppedAndCounted) {
  listen();
  const std::vector<std::string> said = {
      "GET / HTTP/1.0\r\n\r\n",
      std::string(500, '\0'),
      std::string("opsm\1\0\1\0", 8) + std::string(64, 'x'),  // the right preamble of a link, and garbage
      std::string("opsm\1\0\2\0", 8) + std::string(112, 'x'),  // of a data connection
      std::string("opsm\1\0\11\0", 8),                         // of nothing
      "",
  };
  std::string why = run([&]() -> awaitable<void> {
    for (const std::string& words : said) {
      tcp::socket socket(io_.get_executor());
      co_await socket.async_connect(tcp::endpoint(asio::ip::make_address("127.0.0.1"), server_->port()), use_awaitable);
      boost::system::error_code error;
      co_await asio::async_write(socket, asio::buffer(words), asio::redirect_error(use_awaitable, error));
      socket.shutdown(tcp::socket::shutdown_send, error);
      std::vector<char> got(4096);
      size_t n = 0;
      while (!error) n += co_await socket.async_read_some(asio::buffer(got), asio::redirect_error(use_awaitable, error));
      EXPECT_EQ(n, sizeof(wire::Greeting)) << "more than the greeting for: " << words.substr(0, 20);
    }
  });
  EXPECT_EQ(why, "");
  EXPECT_TRUE(wait([&] { return server_->strangers() == said.size(); })) << server_->strangers();
  EXPECT_TRUE(accepted_.empty());
  EXPECT_EQ(data_, 0);
  for (auto [reason, count] : {std::pair{wire::Reason::kMagic, 2}, {wire::Reason::kTag, 2}, {wire::Reason::kPurpose, 1},
                               {wire::Reason::kScan, 1}})
    EXPECT_EQ(server_->strangers(reason), static_cast<uint64_t>(count)) << wire::name(reason);

  EXPECT_EQ(run([&]() -> awaitable<void> { (co_await connect(cluster_))->close(); }), "") << "friends still come in";
  EXPECT_EQ(server_->strangers(), said.size());
}

TEST_F(LinkTest, TheSilentMakeRoomAndFriendsComeIn) {
  listen();
  constexpr size_t kMore = 20;
  std::vector<tcp::socket> silent;
  std::string why = run([&]() -> awaitable<void> {
    for (size_t i = 0; i < daemons::PortServer::kMaxUnknown + kMore; ++i) {
      silent.emplace_back(io_.get_executor());
      co_await silent.back().async_connect(tcp::endpoint(asio::ip::make_address("127.0.0.1"), server_->port()), use_awaitable);
    }
    Link::Ptr link = co_await connect(cluster_);
    link->close();
  });
  EXPECT_EQ(why, "");
  // The friend was one more for whom the oldest had to go.
  EXPECT_TRUE(wait([&] { return server_->strangers(wire::Reason::kCrowded) == kMore + 1; }))
      << server_->strangers(wire::Reason::kCrowded);
  proto::ListStrangers list;
  server_->list_strangers(&list);
  EXPECT_EQ(list.unknown(), daemons::PortServer::kMaxUnknown - 1);
}

TEST_F(LinkTest, BehindAStandbyOnlyItsOwnOpenerIsHeard) {
  std::vector<std::string> heard;  // what came behind each kStandby
  server_ = std::make_shared<daemons::PortServer>(io_.get_executor(), "127.0.0.1", 0, cluster_);
  server_->start({}, [&](tcp::socket socket, wire::Caller caller) -> awaitable<void> {
    co_await wire::answer(socket, caller, cluster_, wire::Verdict::kOk, 0);
    auto next = co_await server_->greeted_again(socket, caller);
    heard.push_back(next ? "conn " + std::to_string(next->data->conn.lo) : "nothing");
  });
  wire::ConnHeader standby;
  standby.preamble.purpose = wire::Purpose::kStandby;
  standby.from = {0xf0000001, 0, 0};
  standby.to = {0xf0000002, 0, 0};
  strcpy(standby.job, "1");
  wire::ConnHeader good = standby;
  good.preamble.purpose = wire::Purpose::kRedirect;
  good.conn = {1, 2};
  good.from.port = 5000;
  wire::ConnHeader opens = good, another = good, other_job = good;
  opens.preamble.purpose = wire::Purpose::kOpen;
  another.from.ip = 0xf0000003;
  strcpy(other_job.job, "2");
  auto said = [&](const wire::PortStream& stream, wire::ConnHeader header) {
    header.tag = wire::make_tag(wire::job_key(cluster_, header.job), wire::bytes_of(stream.greeting), wire::before_tag(header));
    return std::string(reinterpret_cast<const char*>(&header), sizeof header);
  };
  std::string why = run([&]() -> awaitable<void> {
    for (int i = 0; i < 8; ++i) {
      wire::DataStream data = co_await wire::open_data(io_.get_executor(), "127.0.0.1", server_->port(), standby,
                                                       wire::job_key(cluster_, "1"), Millis(2000));
      wire::PortStream stream{std::move(data.socket), data.greeting};
      std::string words = said(stream, good);
      switch (i) {
        case 1: words = said(stream, opens); break;
        case 2: words = said(stream, another); break;
        case 3: words = said(stream, other_job); break;
        case 4: words = said(stream, standby); break;
        case 5: words[30] ^= 1; break;
        case 6: words.resize(50); break;
        case 7: words.clear(); break;
      }
      boost::system::error_code error;
      co_await asio::async_write(stream.socket, asio::buffer(words), asio::redirect_error(use_awaitable, error));
      stream.socket.shutdown(tcp::socket::shutdown_send, error);
      char end;
      co_await asio::async_read(stream.socket, asio::buffer(&end, 1), asio::redirect_error(use_awaitable, error));
      EXPECT_EQ(heard.size(), static_cast<size_t>(i + 1));
    }
  });
  EXPECT_EQ(why, "");
  std::vector<std::string> expected(8, "nothing");
  expected[0] = "conn 2";
  EXPECT_EQ(heard, expected);
  EXPECT_EQ(server_->strangers(wire::Reason::kPurpose), 4u);
  EXPECT_EQ(server_->strangers(wire::Reason::kTag), 1u);
  EXPECT_EQ(server_->strangers(wire::Reason::kCut), 1u);
  EXPECT_EQ(server_->strangers(), 6u) << "one that is closed without a word is nobody's fault";
}

TEST_F(LinkTest, AFrameThatWasAlteredEndsTheLink) {
  // Between the two ends sits somebody who flips one bit of the first frame.
  listen();
  tcp::acceptor between(io_, tcp::endpoint(asio::ip::make_address("127.0.0.1"), 0));
  constexpr size_t kFirstFrame = sizeof(wire::LinkHello) + crypto_secretstream_xchacha20poly1305_HEADERBYTES;
  auto pump = [&](std::shared_ptr<tcp::socket> from, std::shared_ptr<tcp::socket> to, bool flip) {
    spawn(io_.get_executor(), [from, to, flip]() -> awaitable<void> {
      size_t at = 0;
      std::vector<char> buffer(4096);
      for (;;) {
        size_t n = co_await from->async_read_some(asio::buffer(buffer), use_awaitable);
        size_t victim = kFirstFrame + 10;
        if (flip && at <= victim && victim < at + n) buffer[victim - at] ^= 1;
        at += n;
        co_await asio::async_write(*to, asio::buffer(buffer.data(), n), use_awaitable);
      }
    });
  };
  spawn(io_.get_executor(), [&]() -> awaitable<void> {
    auto near = std::make_shared<tcp::socket>(co_await between.async_accept(use_awaitable));
    auto far = std::make_shared<tcp::socket>(io_.get_executor());
    co_await far->async_connect(tcp::endpoint(asio::ip::make_address("127.0.0.1"), server_->port()), use_awaitable);
    pump(near, far, true);
    pump(far, near, false);
  });
  Link::Ptr kept;
  EXPECT_EQ(run([&]() -> awaitable<void> {
    kept = co_await Link::connect(io_.get_executor(), "127.0.0.1", between.local_endpoint().port(), cluster_, Millis(2000));
    kept->start({}, {}, {});
    kept->notify(signal(5));
  }), "");
  EXPECT_TRUE(wait([&] { return closed_ == 1; }));
  EXPECT_TRUE(notices_.empty());
  EXPECT_EQ(server_->strangers(wire::Reason::kSeal), 1u);
  kept->close();
}

TEST_F(LinkTest, NothingListensHere) {
  listen();
  uint16_t port = server_->port();
  server_->stop();
  std::string why = run([&]() -> awaitable<void> {
    co_await Link::connect(io_.get_executor(), "127.0.0.1", port, cluster_, Millis(2000));
  });
  EXPECT_EQ(why.find("127.0.0.1:" + std::to_string(port) + ": "), 0u) << why;
}

TEST(PortServer, SaysWhyItCannotListen) {
  asio::io_context io;
  try {
    daemons::PortServer server(io.get_executor(), "192.0.2.1", 7, wire::Key{});
    FAIL() << "192.0.2.1 is nobody's";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(std::string(error.what()).find("cannot listen on 192.0.2.1:7: "), 0u) << error.what();
  }
}

}  // namespace
}  // namespace msocket
