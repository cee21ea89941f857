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

#include "src/wire/conn_header.h"

namespace msocket::mirror {

namespace {
// Past this much that the new process has not yet taken, peers are made to wait by TCP's own means.
constexpr size_t kMaxBuffered = 4 * 1024 * 1024;
// No event tells that the last byte and the FIN are acknowledged: look this often while that is all we wait for, and more
// seldom when it takes long (a peer that stands still takes its data when it goes on).
constexpr int kDeliveryPollMs = 1, kDeliveryPollMostMs = 64;

bool again(ssize_t n) { return n < 0 && (errno == EAGAIN || errno == EINTR); }

void lowest_water(int fd, int bytes) { setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes); }
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
    if (n != sizeof record || record.magic != wire::kMirrorMagic || !take(record, std::move(fd))) return false;
    if (record.type == wire::Mailbox::kGo) return true;
  }
}

bool Mirror::take(const wire::MailboxRecord& record, ScopedFd fd) {
  if (record.type == wire::Mailbox::kGo) {
    stream_ = std::move(fd);
    return static_cast<bool>(stream_);
  }
  if (record.type == wire::Mailbox::kUpstream) {
    if (!fd || upstream_ || record.frame_have > sizeof up_frame_) return false;
    upstream_ = std::move(fd);
    up_frame_ = record.frame;
    up_have_ = record.frame_have;
    up_left_ = record.frame_left;
    return true;
  }
  if (record.type != wire::Mailbox::kConn) return false;
  Connection* connection = find(record.conn);
  if (!connection) {
    connection = &connections_.emplace_back();
    connection->id = record.conn;
  }
  connection->upstream |= (record.flags & wire::kAfterUpstream) != 0;
  if (!fd) return true;
  Source source;
  source.fd = std::move(fd);
  source.undecided = record.flags & wire::kUndecided;
  source.shut = record.flags & wire::kShut;
  connection->sources.push_back(std::move(source));
  return true;
}

Mirror::Connection* Mirror::find(const ConnId& id) {
  for (auto& c : connections_)
    if (c.id == id) return &c;
  return nullptr;
}

int Mirror::run() {
  if (!collect()) return 0;
  mailbox_.reset();
  for (auto& c : connections_)
    for (auto& s : c.sources) {
      reset_at_death(s.fd.get(), true);
      if (s.undecided) lowest_water(s.fd.get(), sizeof(wire::Answer));
    }
  if (!upstream_) lose_upstream();
  for (auto& c : connections_) end_if_done(c);
  forward();
  return process_lost_ ? 1 : 0;
}

// The order of a connection's bytes: nothing is read of a source before all that is older has ended.
bool Mirror::readable(const Connection& connection, const Source& source) {
  if (source.read_done) return false;
  if (source.undecided || connection.ended) return true;
  if (connection.upstream) return false;
  for (auto& s : connection.sources)
    if (!s.read_done) return &s == &source;
  return false;
}

void Mirror::forward() {
  struct At {
    size_t connection, source;
  };
  std::vector<pollfd> polled;
  std::vector<At> at;
  for (;;) {
    bool waiting_for_delivery = false;
    for (auto& c : connections_) {
      std::erase_if(c.sources, [](const Source& s) {
        if (!s.fd) return true;
        bool over = s.read_done && s.shut && delivered(s.fd.get());
        if (over) reset_at_death(s.fd.get(), false);
        return over;
      });
      for (auto& s : c.sources) waiting_for_delivery |= s.read_done && s.shut;
    }
    std::erase_if(connections_, [](const Connection& c) { return c.ended && c.sources.empty(); });
    if (connections_.empty() && !upstream_ && (out_.empty() || process_lost_)) {
      if (process_lost_) return;
      if (!said_all_) shutdown(stream_.get(), SHUT_WR);
      said_all_ = true;
    }
    bool full = out_.size() - out_at_ > kMaxBuffered;
    short up_events = static_cast<short>((full ? 0 : POLLIN) | (up_out_.empty() ? 0 : POLLOUT));
    polled.assign({{stream_.get(), static_cast<short>(POLLIN | (out_.empty() ? 0 : POLLOUT)), 0},
                   {up_events ? upstream_.get() : -1, up_events, 0}});
    at.clear();
    for (size_t i = 0; i < connections_.size(); ++i)
      for (size_t k = 0; k < connections_[i].sources.size(); ++k) {
        const Source& s = connections_[i].sources[k];
        if (!readable(connections_[i], s) || (full && !s.undecided)) continue;
        polled.push_back({s.fd.get(), static_cast<short>(POLLIN | (s.undecided ? POLLRDHUP : 0)), 0});
        at.push_back({i, k});
      }
    int pause = waiting_for_delivery ? delivery_pause_ms_ : -1;
    int events = poll(polled.data(), polled.size(), pause);
    if (events < 0 && errno != EINTR) return;
    delivery_pause_ms_ = events == 0 ? std::min(delivery_pause_ms_ * 2, kDeliveryPollMostMs) : kDeliveryPollMs;
    if (events <= 0) continue;
    for (size_t i = 0; i < at.size(); ++i) {
      short what = polled[i + 2].revents;
      if (!what) continue;
      Connection& c = connections_[at[i].connection];
      Source& s = c.sources[at[i].source];
      if (s.undecided) decide(c, s, what & (POLLRDHUP | POLLHUP | POLLERR));
      else read_source(c, s);
    }
    if (upstream_ && (polled[1].revents & POLLOUT)) write_upstream();
    if (upstream_ && (polled[1].revents & (POLLIN | POLLHUP | POLLERR))) read_upstream();
    if (polled[0].revents & (POLLIN | POLLHUP | POLLERR)) read_stream();
    if (!process_lost_ && !out_.empty()) write_stream();
    if (said_all_ && !stream_) return;
  }
}

void Mirror::read_source(Connection& connection, Source& source) {
  char buffer[wire::kMirrorMaxData];
  // The file description is shared with a process that may still be there: never set its O_NONBLOCK.
  ssize_t n = recv(source.fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (again(n)) return;
  if (n > 0) {
    if (!connection.ended) frame(wire::Mirror::kData, connection.id, buffer, n);
    return;
  }
  source.read_done = true;
  if (n < 0) {
    source.shut = true;  // nothing can be said to this peer any more
    reset(connection);
  }
  end_if_done(connection);
}

// The answer, whole, or the end without it. Its bytes are the first; what follows is the peer's.
void Mirror::decide(Connection& connection, Source& source, bool peer_hung_up) {
  wire::Answer answer;
  ssize_t n = recv(source.fd.get(), &answer, sizeof answer, MSG_DONTWAIT | MSG_PEEK);
  if (again(n) && !peer_hung_up) return;
  if (n > 0 && n < static_cast<ssize_t>(sizeof answer) && !peer_hung_up) return;
  source.undecided = false;
  if (n == sizeof answer && answer.magic == wire::kPortMagic && answer.verdict == wire::Verdict::kOk) {
    (void)!recv(source.fd.get(), &answer, sizeof answer, MSG_DONTWAIT);
    lowest_water(source.fd.get(), 1);
    tell_upstream(connection.id);  // as the process would have done
    for (auto& s : connection.sources)
      if (&s != &source && !s.undecided && !s.shut) {
        shutdown(s.fd.get(), SHUT_WR);
        s.shut = true;
      }
    if (connection.switched) end_old_streams(connection);
    return;
  }
  source.read_done = true;
  source.fd.reset();  // the peer has not taken it
  end_if_done(connection);
}

void Mirror::frame(wire::Mirror type, const ConnId& id, const char* data, size_t length) {
  if (process_lost_) return;
  wire::MirrorFrame header{.type = type, .conn = id, .len = static_cast<uint32_t>(length)};
  out_.append(reinterpret_cast<const char*>(&header), sizeof header);
  out_.append(data ? data : "", length);
}

void Mirror::end_if_done(Connection& connection) {
  if (connection.ended || connection.upstream) return;
  for (auto& s : connection.sources)
    if (!s.read_done) return;
  frame(wire::Mirror::kEof, connection.id);
  connection.ended = true;
}

void Mirror::reset(Connection& connection) {
  if (!connection.ended) frame(wire::Mirror::kReset, connection.id);
  connection.ended = true;
  connection.upstream = false;
}

void Mirror::end_old_streams(Connection& connection) {
  connection.switched = true;
  for (auto& s : connection.sources) {
    if (s.undecided) continue;
    if (!s.shut) shutdown(s.fd.get(), SHUT_WR);
    s.shut = true;
  }
}

void Mirror::tell_upstream(const ConnId& id) {
  if (!upstream_) return;
  wire::MirrorFrame header{.type = wire::Mirror::kHalfClose, .conn = id};
  up_out_.append(reinterpret_cast<const char*>(&header), sizeof header);
  write_upstream();
}

void Mirror::write_upstream() {
  ssize_t n = send(upstream_.get(), up_out_.data(), up_out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n > 0) up_out_.erase(0, n);
  else if (!again(n)) up_out_.clear();  // it has gone; its end is read
}

void Mirror::read_upstream() {
  if (up_have_ < sizeof up_frame_) {
    ssize_t n = recv(upstream_.get(), reinterpret_cast<char*>(&up_frame_) + up_have_, sizeof up_frame_ - up_have_, MSG_DONTWAIT);
    if (again(n)) return;
    if (n <= 0) return lose_upstream();
    up_have_ += n;
    if (up_have_ < sizeof up_frame_) return;
    up_left_ = up_frame_.len;
    if (up_frame_.magic != wire::kMirrorMagic || up_frame_.len > wire::kMirrorMaxData) return lose_upstream();
  }
  if (up_left_ > 0) {
    char buffer[wire::kMirrorMaxData];
    ssize_t n = recv(upstream_.get(), buffer, up_left_, MSG_DONTWAIT);
    if (again(n)) return;
    if (n <= 0) return lose_upstream();
    up_left_ -= n;
    Connection* c = find(up_frame_.conn);  // nullptr: the program has closed it; the bytes go nowhere
    if (c && c->upstream) frame(wire::Mirror::kData, c->id, buffer, n);
    if (up_left_ > 0) return;
  }
  up_have_ = 0;
  upstream_frame();
}

// A whole frame of the mirror before has come.
void Mirror::upstream_frame() {
  Connection* c = find(up_frame_.conn);
  if (!c || !c->upstream || up_frame_.type == wire::Mirror::kData) return;
  c->upstream = false;
  if (up_frame_.type == wire::Mirror::kReset) reset(*c);
  end_if_done(*c);
}

// It has said everything, or has died: then what it owed is lost, and nobody may take what follows for the whole.
void Mirror::lose_upstream() {
  upstream_.reset();
  up_out_.clear();
  for (auto& c : connections_)
    if (c.upstream) reset(c);
}

void Mirror::read_stream() {
  char buffer[4096];
  ssize_t n = recv(stream_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (again(n)) return;
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
    if (Connection* c = find(header.conn)) end_old_streams(*c);
    tell_upstream(header.conn);  // the peer has left whatever is older, too
  }
}

void Mirror::write_stream() {
  ssize_t n = send(stream_.get(), out_.data() + out_at_, out_.size() - out_at_, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0) {
    if (!again(n)) lose_process();
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
  lose_upstream();
  for (auto& c : connections_) {
    c.ended = true;
    end_old_streams(c);
  }
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
  if (info.tcpi_state == TCP_CLOSE) return true;  // reset by the peer: what it has not taken it never will, and counts as unsent
  bool fin_under_way = info.tcpi_state == TCP_FIN_WAIT1 || info.tcpi_state == TCP_CLOSING || info.tcpi_state == TCP_LAST_ACK;
  return unsent == 0 && !fin_under_way;
}

}  // namespace msocket::mirror
