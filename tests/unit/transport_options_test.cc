// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "src/transport/options.h"
#include "src/util/scoped_fd.h"

namespace msocket::transport {
namespace {

ScopedFd tcp_socket() { return ScopedFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

void set(const ScopedFd& fd, int level, int name, int value) {
  ASSERT_EQ(setsockopt(fd.get(), level, name, &value, sizeof value), 0) << "option " << name;
}

int get(const ScopedFd& fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  EXPECT_EQ(getsockopt(fd.get(), level, name, &value, &length), 0) << "option " << name;
  return value;
}

bool nonblocking(const ScopedFd& fd) { return fcntl(fd.get(), F_GETFL) & O_NONBLOCK; }

struct Setting {
  int level, name, value;
};
constexpr Setting kSettings[] = {
    {IPPROTO_TCP, TCP_NODELAY, 1},    {SOL_SOCKET, SO_KEEPALIVE, 1},    {IPPROTO_TCP, TCP_KEEPIDLE, 77},
    {IPPROTO_TCP, TCP_KEEPINTVL, 11}, {IPPROTO_TCP, TCP_KEEPCNT, 3},    {IPPROTO_TCP, TCP_USER_TIMEOUT, 12345},
    {SOL_SOCKET, SO_OOBINLINE, 1},    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4096},
};

TEST(Options, CopyMakesOneSocketLikeAnother) {
  ScopedFd from = tcp_socket(), to = tcp_socket();
  for (const Setting& s : kSettings) set(from, s.level, s.name, s.value);
  linger linger_set{1, 9};
  timeval timeout{4, 0};
  ASSERT_EQ(setsockopt(from.get(), SOL_SOCKET, SO_LINGER, &linger_set, sizeof linger_set), 0);
  ASSERT_EQ(setsockopt(from.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), 0);
  copy_options(from.get(), to.get());
  for (const Setting& s : kSettings) EXPECT_EQ(get(to, s.level, s.name), s.value) << "option " << s.name;
  linger linger_got{};
  timeval timeout_got{};
  socklen_t length = sizeof linger_got;
  ASSERT_EQ(getsockopt(to.get(), SOL_SOCKET, SO_LINGER, &linger_got, &length), 0);
  EXPECT_EQ(linger_got.l_onoff, 1);
  EXPECT_EQ(linger_got.l_linger, 9);
  length = sizeof timeout_got;
  ASSERT_EQ(getsockopt(to.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout_got, &length), 0);
  EXPECT_EQ(timeout_got.tv_sec, 4);
}

TEST(Options, CopyAlsoTakesBackWhatTheFirstDoesNotHave) {
  ScopedFd from = tcp_socket(), to = tcp_socket();
  set(to, IPPROTO_TCP, TCP_NODELAY, 1);
  set(to, SOL_SOCKET, SO_KEEPALIVE, 1);
  fcntl(to.get(), F_SETFL, O_NONBLOCK);
  copy_options(from.get(), to.get());
  EXPECT_EQ(get(to, IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_EQ(get(to, SOL_SOCKET, SO_KEEPALIVE), 0);
  EXPECT_FALSE(nonblocking(to));
}

TEST(Options, NonblockingFollows) {
  ScopedFd from = tcp_socket(), to = tcp_socket();
  fcntl(from.get(), F_SETFL, O_NONBLOCK);
  copy_options(from.get(), to.get());
  EXPECT_TRUE(nonblocking(to));
}

TEST(Options, BufferSizesOnlyWhereTheProgramHasFixedThem) {
  ScopedFd from = tcp_socket(), to = tcp_socket(), fixed = tcp_socket();
  set(to, SOL_SOCKET, SO_SNDBUF, 30'000);
  set(to, SOL_SOCKET, SO_RCVBUF, 40'000);
  int send_before = get(to, SOL_SOCKET, SO_SNDBUF), receive_before = get(to, SOL_SOCKET, SO_RCVBUF);
  ASSERT_NE(send_before, get(from, SOL_SOCKET, SO_SNDBUF));
  copy_options(from.get(), to.get());  // the kernel tunes from's: nothing to copy
  EXPECT_EQ(get(to, SOL_SOCKET, SO_SNDBUF), send_before);
  EXPECT_EQ(get(to, SOL_SOCKET, SO_RCVBUF), receive_before);

  set(fixed, SOL_SOCKET, SO_SNDBUF, 50'000);
  copy_options(fixed.get(), to.get());
  EXPECT_EQ(get(to, SOL_SOCKET, SO_SNDBUF), get(fixed, SOL_SOCKET, SO_SNDBUF));
  EXPECT_EQ(get(to, SOL_SOCKET, SO_RCVBUF), receive_before);
  set(fixed, SOL_SOCKET, SO_RCVBUF, 60'000);
  copy_options(fixed.get(), to.get());
  EXPECT_EQ(get(to, SOL_SOCKET, SO_RCVBUF), get(fixed, SOL_SOCKET, SO_RCVBUF));
}

TEST(Options, SizesDoNotGrowFromCopyToCopy) {
  ScopedFd first = tcp_socket();
  set(first, SOL_SOCKET, SO_SNDBUF, 50'000);
  int size = get(first, SOL_SOCKET, SO_SNDBUF);
  ScopedFd before = std::move(first);
  for (int i = 0; i < 5; ++i) {
    ScopedFd next = tcp_socket();
    copy_options(before.get(), next.get());
    ASSERT_EQ(get(next, SOL_SOCKET, SO_SNDBUF), size) << "copy " << i;
    before = std::move(next);
  }
}

TEST(Options, SavedOnesOutliveTheirSocket) {
  SavedOptions saved;
  {
    ScopedFd from = tcp_socket();
    for (const Setting& s : kSettings) set(from, s.level, s.name, s.value);
    set(from, SOL_SOCKET, SO_RCVBUF, 60'000);
    fcntl(from.get(), F_SETFL, O_NONBLOCK);
    save_options(from.get(), &saved);
  }
  ScopedFd to = tcp_socket(), same = tcp_socket();
  set(same, SOL_SOCKET, SO_RCVBUF, 60'000);
  apply_options(saved, to.get());
  for (const Setting& s : kSettings) EXPECT_EQ(get(to, s.level, s.name), s.value) << "option " << s.name;
  EXPECT_EQ(get(to, SOL_SOCKET, SO_RCVBUF), get(same, SOL_SOCKET, SO_RCVBUF));
  EXPECT_TRUE(nonblocking(to));
}

TEST(Options, AnotherKindOfSocketIsNotAnError) {
  ScopedFd from = tcp_socket();
  set(from, IPPROTO_TCP, TCP_NODELAY, 1);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  ScopedFd one(pair[0]), other(pair[1]);
  fcntl(from.get(), F_SETFL, O_NONBLOCK);
  copy_options(from.get(), one.get());
  EXPECT_TRUE(nonblocking(one));
}

}  // namespace
}  // namespace msocket::transport
