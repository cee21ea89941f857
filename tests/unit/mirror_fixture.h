// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A mirror on its own, for mirror_relay_test.cc and mirror_chain_test.cc: around it the test plays everybody else.
#pragma once

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

#include "src/mirror/mirror.h"
#include "src/wire/conn_header.h"

namespace msocket::mirror {

inline constexpr int kLimitMs = 20000;  // for what must happen
inline constexpr ConnId kA{1, 10}, kB{2, 20};

/// Two ends of one TCP connection.
inline std::pair<ScopedFd, ScopedFd> tcp_pair() {
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

inline bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, kLimitMs) == 1;
}

/// What comes until the end, or an error's name.
inline std::string read_to_end(int fd) {
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

inline bool nothing_to_read(const ScopedFd& fd) {
  char byte;
  return recv(fd.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

inline void send_all(const ScopedFd& fd, const std::string& data) {
  size_t at = 0;
  while (at < data.size()) {
    ssize_t n = send(fd.get(), data.data() + at, data.size() - at, MSG_NOSIGNAL);
    ASSERT_GT(n, 0) << strerror(errno);
    at += n;
  }
}

inline std::string pattern(size_t size, unsigned seed) {
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

  /// As a process is that is killed, or a mirror.
  static void reset(ScopedFd* socket) {
    linger at_once{1, 0};
    setsockopt(socket->get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    socket->reset();
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

}  // namespace msocket::mirror
