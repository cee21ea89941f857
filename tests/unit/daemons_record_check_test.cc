// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/record_check.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/socket.h>

#include <vector>

#include "src/transport/channel.h"
#include "src/util/scoped_fd.h"

namespace msocket::daemons {
namespace {

wire::ControlRecord record(wire::Control type) {
  wire::ControlRecord made;
  made.type = type;
  return made;
}

TEST(RecordCheck, ATextEndsWhateverCame) {
  auto said = record(wire::Control::kHello);
  memset(said.text, 'x', sizeof said.text);
  EXPECT_TRUE(sane(said));
  EXPECT_EQ(strnlen(said.text, sizeof said.text), sizeof said.text - 1);
  said.magic ^= 1;
  EXPECT_FALSE(sane(said));
}

TEST(RecordCheck, AProcessSaysWhatIsItsOwnToSay) {
  RecordBooks books{.arriving = true, .tracking = true, .installing = true};
  for (int type = 0; type < 100; ++type) {
    auto said = record(static_cast<wire::Control>(type));
    bool brings_one = said.type == wire::Control::kListen || said.type == wire::Control::kFork || said.type == wire::Control::kUdpBind ||
                      said.type == wire::Control::kTracked;
    size_t descriptors = brings_one ? 1 : 0;
    EXPECT_EQ(why_not_taken(said, descriptors, books) == nullptr, (type >= 1 && type <= 12) || (type >= 40 && type <= 42)) << type;
    EXPECT_NE(why_not_taken(said, descriptors + 1, books), nullptr) << type;
  }
}

TEST(RecordCheck, TheDaemonsBooksAreBounded) {
  EXPECT_EQ(why_not_taken(record(wire::Control::kListen), 1, {.listeners = kMaxSockets - 1}), nullptr);
  EXPECT_NE(why_not_taken(record(wire::Control::kListen), 1, {.listeners = kMaxSockets}), nullptr);
  EXPECT_NE(why_not_taken(record(wire::Control::kConnect), 0, {.connecting = kMaxSockets}), nullptr);
  EXPECT_NE(why_not_taken(record(wire::Control::kReconnect), 0, {.reconnects = kMaxSockets, .arriving = true}), nullptr);
  EXPECT_NE(why_not_taken(record(wire::Control::kReconnect), 0, {}), nullptr) << "it has not moved";
  EXPECT_NE(why_not_taken(record(wire::Control::kInstalled), 0, {}), nullptr) << "it was given nothing";
  EXPECT_NE(why_not_taken(record(wire::Control::kTracked), 1, {}), nullptr) << "it was not asked";
  auto cannot = record(wire::Control::kTracked);
  cannot.error = ENOSYS;
  EXPECT_EQ(why_not_taken(cannot, 0, {.tracking = true}), nullptr);
}

// A fourth descriptor used to be written behind the caller's array.
TEST(RecordCheck, MoreDescriptorsThanThereIsRoomForAreRefused) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  ScopedFd ours(pair[0]), theirs(pair[1]);
  auto said = record(wire::Control::kListen);
  for (int count = 0; count <= 6; ++count) {
    alignas(cmsghdr) char space[CMSG_SPACE(6 * sizeof(int))] = {};
    iovec part{&said, sizeof said};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (count) {
      message.msg_control = space;
      message.msg_controllen = CMSG_SPACE(count * sizeof(int));
      cmsghdr* head = CMSG_FIRSTHDR(&message);
      *head = {CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
      std::vector<int> fds(count, theirs.get());
      memcpy(CMSG_DATA(head), fds.data(), count * sizeof(int));
    }
    ASSERT_EQ(sendmsg(theirs.get(), &message, 0), static_cast<ssize_t>(sizeof said));
    int fds[wire::kMaxControlFds + 1] = {-7, -7, -7, -7}, got = 0;
    long r = transport::receive_record(ours.get(), &said, sizeof said, fds, &got, true);
    EXPECT_EQ(fds[wire::kMaxControlFds], -7) << count;
    EXPECT_EQ(r, count <= wire::kMaxControlFds ? 0 : -EBADMSG) << count;
    EXPECT_EQ(got, r == 0 ? count : 0);
    for (int i = 0; i < got; ++i) ScopedFd closes(fds[i]);
  }
}

}  // namespace
}  // namespace msocket::daemons
