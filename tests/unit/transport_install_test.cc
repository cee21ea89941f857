// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What a peer sees of a new connection, at the moment it is installed under a virtual socket.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "src/transport/calls.h"
#include "src/transport/redirect.h"
#include "src/transport/runtime.h"
#include "src/transport/vsocket.h"
#include "src/transport/watches.h"
#include "src/util/scoped_fd.h"
#include "tests/unit/mirror_fixture.h"

namespace msocket::transport {
namespace {

class Install : public testing::Test {
 protected:
  Install() {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    control_.reset(pair[0]);
    daemon_.reset(pair[1]);
    rt.control_fd = control_.get();
    auto [ours, theirs] = mirror::tcp_pair();
    fresh_ = ours.release();
    peer_ = std::move(theirs);

    // A process that has just moved: the socket waits for its new connection.
    vs_ = allocate_vsocket();
    vs_->conn = {5, 6};
    attach(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), vs_);
    set_state(vs_, ConnState::kAwaiting);
  }
  ~Install() override {
    int number = vs_->fd;
    detach(number);
    close(number);
    rt.control_fd = -1;
    rt.pending = 0;
  }
  /// What the daemon is answered.
  int install() {
    wire::ControlRecord record;
    record.type = wire::Control::kInstall;
    record.conn = vs_->conn;
    record.local_gen = rt.generation;
    on_install(record, fresh_);
    wire::ControlRecord reply;
    EXPECT_EQ(recv(daemon_.get(), &reply, sizeof reply, 0), static_cast<ssize_t>(sizeof reply));
    EXPECT_EQ(reply.type, wire::Control::kInstalled);
    return reply.error;
  }
  /// What the peer reads: a count, or -errno.
  long peer_reads() const {
    char byte;
    ssize_t n = recv(peer_.get(), &byte, 1, 0);
    return n < 0 ? -errno : n;
  }

  ScopedFd control_, daemon_, peer_;
  int fresh_ = -1;
  VSocket* vs_ = nullptr;
};

TEST_F(Install, AnEndThatTheProgramHasMadeIsMadeThere) {
  vs_->write_shut = true;
  EXPECT_EQ(install(), 0);
  EXPECT_EQ(peer_reads(), 0);
}

// Its bytes were lost with a mirror: an end of the stream would say that there were none.
TEST_F(Install, ABrokenOneIsResetAndNotEnded) {
  vs_->broken = vs_->write_shut = true;
  EXPECT_EQ(install(), 0);
  EXPECT_EQ(peer_reads(), -ECONNRESET);
}

// With an end in both directions the kernel tells epoll of a hang-up, whatever it was asked.
class InstallWatched : public Install, public testing::WithParamInterface<uint32_t> {
 protected:
  InstallWatched() {
    EXPECT_TRUE(add_epoll(set_ = epoll_create1(EPOLL_CLOEXEC), -1));
    epoll_event event{EPOLLIN | GetParam(), {.u64 = 17}};
    EXPECT_EQ(change_watch(epoll_id(set_), EPOLL_CTL_ADD, vs_->fd, vs_, &event), 0);
    vs_->from_mirror = vs_->write_shut = true;
    peer_.reset();
    EXPECT_EQ(install(), 0);
    EXPECT_EQ(vs_->state, ConnState::kDraining);
  }
  ~InstallWatched() override {
    remove_epoll(set_);
    close(set_);
  }
  /// The events of the only one that is ready; 0: it is not.
  uint32_t ready(int timeout_ms) {
    epoll_event events[4];
    long n = do_epoll_wait(set_, events, 4, timeout_ms, nullptr);
    if (n == 1) EXPECT_EQ(events[0].data.u64, 17u);
    return n == 1 ? events[0].events : n == 0 ? 0 : ~0u;
  }
  int set_ = -1;
};

TEST_P(InstallWatched, ItsEndIsNoNewsWhileTheOldOneDrains) {
  EXPECT_EQ(ready(0), 0u);
  pollfd p{set_, POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, 0), 0) << "the kernel is still asked, and answers at once each time";
  EXPECT_EQ(ready(20), 0u);
  vs_->old_ended = true;
  note_arrival(vs_);
  refresh(vs_);
  EXPECT_EQ(ready(1000), static_cast<uint32_t>(EPOLLIN | EPOLLHUP));
}

TEST_P(InstallWatched, ThereIsRoomToWriteForWhoAsksLater) {
  EXPECT_EQ(ready(0), 0u);
  epoll_event event{EPOLLIN | EPOLLOUT | GetParam(), {.u64 = 17}};
  EXPECT_EQ(change_watch(epoll_id(set_), EPOLL_CTL_MOD, vs_->fd, vs_, &event), 0);
  EXPECT_EQ(ready(0), static_cast<uint32_t>(EPOLLOUT));
}

INSTANTIATE_TEST_SUITE_P(Ways, InstallWatched, testing::Values(0u, static_cast<uint32_t>(EPOLLET), static_cast<uint32_t>(EPOLLONESHOT)));

}  // namespace
}  // namespace msocket::transport
