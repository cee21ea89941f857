// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "src/transport/channel.h"

namespace msocket::daemons {
namespace {

TEST(ProcessChannel, AProcessThatStandsStillHoldsNobodyUp) {
  constexpr uint64_t kRecords = 2000;  // far more than a socket takes
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  ScopedFd process(pair[1]), null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  asio::io_context io;
  auto channel = std::make_shared<ProcessChannel>(io.get_executor(), ScopedFd(pair[0]));
  for (uint64_t i = 0; i < kRecords; ++i) {
    wire::ControlRecord record;
    record.arg0 = i;
    ASSERT_TRUE(channel->send(record, i % 100 == 0 ? std::vector<int>{null.get()} : std::vector<int>{}));
  }
  struct stat expected;
  ASSERT_EQ(fstat(null.get(), &expected), 0);
  for (uint64_t i = 0; i < kRecords; ++i) {  // now it goes on
    wire::ControlRecord record;
    int fds[wire::kMaxControlFds], count = 0;
    long r;
    while ((r = transport::receive_record(process.get(), &record, sizeof record, fds, &count, true)) == -EAGAIN)
      ASSERT_GT(io.run_one_for(Millis(20000)), 0u) << "nothing more comes after " << i << " records";
    ASSERT_EQ(r, 0);
    ASSERT_EQ(record.arg0, i) << "out of order";
    ASSERT_EQ(count, i % 100 == 0 ? 1 : 0);
    if (count == 0) continue;
    ScopedFd got(fds[0]);
    struct stat st;
    ASSERT_EQ(fstat(got.get(), &st), 0);
    EXPECT_EQ(st.st_ino, expected.st_ino);
  }
  channel->close();
  io.run();
}

}  // namespace
}  // namespace msocket::daemons
