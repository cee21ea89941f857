// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/mirror/mirror.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>

namespace msocket::mirror {

namespace {
// Past this much that the new process has not yet taken, peers are made to wait by TCP's own means.
constexpr size_t kMaxBuffered = 4 * 1024 * 1024;
// No event tells that the last byte and the FIN are acknowledged: look this often while that is all we wait for.
constexpr int kDeliveryPollMs = 1;
}  // namespace

bool Mirror::collect() {
  for (;;) {
    wire::MailboxRecord record;
    iovec part{&record, sizeof record};
    union {
      cmsghdr header;
      char space[CMSG_SPACE(sizeof(int))];
    } ancillary;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = &ancillary;
    message.msg_controllen = CMSG_LEN(sizeof(int));  // of the whole space there would be room for two
    ssize_t n = recvmsg(mailbox_.get(), &message, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) continue;
    ScopedFd fd;
    if (n > 0)
      if (cmsghdr* c = CMSG_FIRSTHDR(&message); c && c->cmsg_type == SCM_RIGHTS) {
        int number;
        memcpy(&number, CMSG_DATA(c), sizeof number);
        fd.reset(number);
      }
    if (n != sizeof record || record.magic != wire::kMirrorMagic) return false;
    if (record.type == wire::Mailbox::kGo) return true;
    if (record.type != wire::Mailbox::kConn || !fd) return false;
    Connection connection;
    connection.id = record.conn;
    connection.fd = std::move(fd);
    connections_.push_back(std::move(connection));
  }
}

int Mirror::run() {
  if (!collect()) return 0;
  mailbox_.reset();
  for (auto& c : connections_) reset_at_death(c.fd.get(), true);
  forward();
  return process_lost_ ? 1 : 0;
}

void Mirror::forward() {
  std::vector<pollfd> polled;
  for (;;) {
    std::erase_if(connections_, [](const Connection& c) {
      bool over = c.read_done && c.half_close && delivered(c.fd.get());
      if (over) reset_at_death(c.fd.get(), false);
      return over;
    });
    if (connections_.empty() && (out_.empty() || process_lost_)) {
      if (process_lost_) return;
      if (!said_all_) shutdown(stream_.get(), SHUT_WR);
      said_all_ = true;
    }
    bool waiting_for_delivery = false, full = out_.size() - out_at_ > kMaxBuffered;
    polled.assign(1, {process_lost_ ? -1 : stream_.get(),
                      static_cast<short>(POLLIN | (out_.empty() ? 0 : POLLOUT)), 0});
    for (auto& c : connections_) {
      bool wants_read = !c.read_done && !full;
      waiting_for_delivery |= c.read_done && c.half_close;
      polled.push_back({wants_read ? c.fd.get() : -1, POLLIN, 0});
    }
    if (poll(polled.data(), polled.size(), waiting_for_delivery ? kDeliveryPollMs : -1) < 0 && errno != EINTR) return;
    size_t count = connections_.size();
    for (size_t i = 0; i < count; ++i)
      if (polled[i + 1].revents) read_connection(connections_[i]);
    if (polled[0].revents & (POLLIN | POLLHUP | POLLERR)) read_stream();
    if (!process_lost_ && !out_.empty()) write_stream();
    if (said_all_ && !stream_) return;
  }
}

void Mirror::read_connection(Connection& connection) {
  char buffer[wire::kMirrorMaxData];
  // The file description is shared with a process that may still be there: never set its O_NONBLOCK.
  ssize_t n = recv(connection.fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) {
    frame(wire::Mirror::kData, connection.id, buffer, n);
    return;
  }
  frame(n == 0 ? wire::Mirror::kEof : wire::Mirror::kReset, connection.id, nullptr, 0);
  connection.read_done = true;
  if (n < 0) connection.half_close = true;  // nothing can be said to this peer any more
  if (process_lost_) end_old_stream(connection);
}

void Mirror::frame(wire::Mirror type, const ConnId& id, const char* data, size_t length) {
  if (process_lost_) return;
  wire::MirrorFrame header{.type = type, .conn = id, .len = static_cast<uint32_t>(length)};
  out_.append(reinterpret_cast<const char*>(&header), sizeof header);
  out_.append(data ? data : "", length);
}

void Mirror::end_old_stream(Connection& connection) {
  if (!connection.half_close) shutdown(connection.fd.get(), SHUT_WR);
  connection.half_close = true;
}

void Mirror::read_stream() {
  char buffer[4096];
  ssize_t n = recv(stream_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    if (said_all_) stream_.reset();  // it has read everything and hung up: done
    else lose_process();
    return;
  }
  in_.append(buffer, n);
  while (in_.size() >= sizeof(wire::MirrorFrame)) {
    wire::MirrorFrame header;
    memcpy(&header, in_.data(), sizeof header);
    in_.erase(0, sizeof header);
    if (header.magic != wire::kMirrorMagic || header.type != wire::Mirror::kHalfClose || header.len) return lose_process();
    for (auto& c : connections_)
      if (c.id == header.conn) end_old_stream(c);
  }
}

void Mirror::write_stream() {
  ssize_t n = send(stream_.get(), out_.data() + out_at_, out_.size() - out_at_, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) lose_process();
    return;
  }
  out_at_ += n;
  if (out_at_ == out_.size()) {
    out_.clear();
    out_at_ = 0;
  }
}

// The new process has died. What the old one wrote still belongs to its peers; what they write goes nowhere.
void Mirror::lose_process() {
  process_lost_ = true;
  stream_.reset();
  out_.clear();
  out_at_ = 0;
  for (auto& c : connections_) end_old_stream(c);
}

void Mirror::reset_at_death(int fd, bool on) {
  linger how{on, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &how, sizeof how);
}

bool Mirror::delivered(int fd) {
  int unsent = 0;
  if (ioctl(fd, SIOCOUTQ, &unsent) != 0) return true;
  tcp_info info{};
  socklen_t length = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return true;
  bool fin_under_way = info.tcpi_state == TCP_FIN_WAIT1 || info.tcpi_state == TCP_CLOSING || info.tcpi_state == TCP_LAST_ACK;
  return unsent == 0 && !fin_under_way;
}

}  // namespace msocket::mirror
