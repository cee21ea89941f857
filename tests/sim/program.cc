// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "tests/sim/program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <cstring>

namespace msocket::sim {

namespace {

constexpr uint16_t kPort = 5000;
constexpr size_t kMostConns = 6;
constexpr size_t kMostRead = 9000, kMostWrite = 4000;

class Program {
 public:
  Program(Process* process, const std::vector<Process*>& all) : p_(process), lib_(process->lib), all_(all) {}
  void run();

 private:
  Random& random() { return sim.random; }
  void listen();
  void turn();
  void connect();
  void accept(bool may_wait);
  void read(End& end, bool may_wait);
  void write(End& end);
  void renumber(End& end);
  void close(End& end);
  void think();
  void finish();
  /// Made known to the oracle: this descriptor is one end of that connection.
  void take(Conn* conn, int side, int fd, bool nonblock, bool no_delay);

  Process* p_;
  const Library* lib_;
  const std::vector<Process*>& all_;
  int listener_ = -1, epoll_ = -1;
  bool listener_waits_ = false;
  std::vector<End*> ends_;
};

sockaddr_in address_of(uint32_t vip, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(vip);
  return address;
}

void Program::listen() {
  epoll_ = static_cast<int>(lib_->epoll_create(random().percent(50) ? EPOLL_CLOEXEC : 0));
  listener_ = static_cast<int>(lib_->socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = address_of(0, kPort);
  if (lib_->bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || lib_->listen(listener_, 10) != 0)
    sim.fail("cannot listen");
  listener_waits_ = random().percent(50);
  if (!listener_waits_) lib_->fcntl(listener_, F_SETFL, O_RDWR | O_NONBLOCK);
  sim.sleep(80 * kMs);  // its daemon has heard of it
  ++listening;
}

void Program::take(Conn* conn, int side, int fd, bool nonblock, bool no_delay) {
  End& end = conn->end[side];
  if (end.process) sim.fail("a connection that was there before: %s", describe(end).c_str());
  end.process = p_;
  end.fd = fd;
  end.nonblock = nonblock;
  end.no_delay = no_delay;
  watch(end, epoll_, EPOLL_CTL_ADD);
  ends_.push_back(&end);
  sim.trace("connection %d: %s has number %d", conn->id, side ? "the server" : "the client", fd);
}

void Program::connect() {
  Process* server = all_[random().below(all_.size())];
  if (listening < static_cast<int>(all_.size())) return;
  bool nonblock = random().percent(50), no_delay = random().percent(50);
  ++active_connects;  // from here on nobody closes his listener
  int fd = static_cast<int>(lib_->socket(AF_INET, SOCK_STREAM | (nonblock ? SOCK_NONBLOCK : 0), 0));
  if (fd < 0) sim.fail("socket: error %d", -fd);
  int one = 1;
  if (no_delay) lib_->setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  int small = random().percent(20) ? static_cast<int>(random().between(2000, 5000)) : 0;
  if (small) lib_->setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  sockaddr_in address = address_of(server->vip, kPort);
  p_->connecting_to = server;
  p_->connecting_lossy = false;
  long r = lib_->connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  if (r == -EINPROGRESS && nonblock) {
    do {
      pollfd asked{fd, POLLOUT, 0};
      r = lib_->poll(&asked, 1, random().percent(50) ? -1 : 5);
    } while (r == 0);
    int error = 0;
    socklen_t length = sizeof error;
    lib_->getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    r = r < 0 ? r : -error;
  }
  // Who has closed it by now may have been reset.
  bool reset = nonblock && (r == -ECONNRESET || r == -EPIPE);
  if (r == 0 || reset) {
    sockaddr_in own{};
    socklen_t length = sizeof own;
    lib_->getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length);
    Conn* conn = find_or_make(ntohl(own.sin_addr.s_addr), ntohs(own.sin_port), server);
    conn->lossy |= p_->connecting_lossy;
    if (small) conn->end[0].send_room = static_cast<size_t>(small);
    take(conn, 0, fd, nonblock, no_delay);
    if (reset && !conn->rude && !conn->lossy) sim.fail("reset in connect: %s", describe(conn->end[0]).c_str());
    conn->end[0].broken = reset;
  } else {
    sim.fail("connect to %s (number %d, %s): error %ld", server->name.c_str(), fd, nonblock ? "does not wait" : "waits", -r);
  }
  p_->connecting_to = nullptr;
  --active_connects;
}

void Program::accept(bool may_wait) {
  bool nonblock = random().percent(50);
  sockaddr_in peer{};
  socklen_t length = sizeof peer;
  if (!may_wait && listener_waits_) {
    pollfd asked{listener_, POLLIN, 0};
    if (lib_->poll(&asked, 1, 0) <= 0) return;
    may_wait = true;
  }
  int fd = static_cast<int>(lib_->accept(listener_, reinterpret_cast<sockaddr*>(&peer), &length, nonblock ? SOCK_NONBLOCK : 0));
  if (fd == -EAGAIN && !listener_waits_) return;
  if (fd < 0) sim.fail("accept: error %d", -fd);
  take(find_or_make(ntohl(peer.sin_addr.s_addr), ntohs(peer.sin_port), p_), 1, fd, nonblock, false);
}

void Program::read(End& end, bool may_wait) {
  char data[kMostRead];
  size_t length = random().between(1, random().percent(30) ? 10 : sizeof data);
  bool peek = random().one_in(10);
  may_wait = may_wait && !end.nonblock;
  int flags = may_wait ? 0 : MSG_DONTWAIT;
  if (may_wait) ++traffic.waiting_calls;
  long n;
  if (peek) {
    n = lib_->recv(end.fd, data, length, flags | MSG_PEEK);
  } else if ((may_wait || end.nonblock) && random().percent(50)) {
    if (random().percent(50)) {
      n = lib_->read(end.fd, data, length);
    } else {
      size_t half = length / 2;
      iovec parts[] = {{data, half}, {data + half, length - half}};
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = 2;
      n = random().percent(50) ? lib_->readv(end.fd, parts, 2) : lib_->recvmsg(end.fd, &message, flags);
    }
  } else if (may_wait && end.other().sent - end.got >= length && random().percent(30)) {
    n = lib_->recv(end.fd, data, length, MSG_WAITALL);
    if (n != static_cast<long>(length) && !end.conn->rude && !end.conn->lossy)
      sim.fail("MSG_WAITALL gave %ld of %zu: %s", n, length, describe(end).c_str());
  } else {
    n = lib_->recv(end.fd, data, length, flags);
  }
  check_read(end, data, length, n, may_wait, peek);
}

void Program::write(End& end) {
  char data[kMostWrite];
  size_t length = random().between(1, random().percent(30) ? 10 : sizeof data);
  for (size_t i = 0; i < length; ++i) data[i] = pattern(*end.conn, end.side, end.sent + i);
  bool may_wait = !end.nonblock && write_fits(end, length) && random().percent(60);
  if (may_wait) ++traffic.waiting_calls;
  end.sending = length;
  long n;
  if ((may_wait || end.nonblock) && random().percent(50)) {
    if (random().percent(50)) {
      n = lib_->write(end.fd, data, length);
    } else {
      size_t half = length / 2;
      iovec parts[] = {{data, half}, {data + half, length - half}};
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = 2;
      n = random().percent(50) ? lib_->writev(end.fd, parts, 2) : lib_->sendmsg(end.fd, &message, 0);
    }
  } else {
    n = lib_->send(end.fd, data, length, may_wait ? 0 : MSG_DONTWAIT);
  }
  check_write(end, length, n, may_wait);
}

// The same connection under another number, and back.
void Program::renumber(End& end) {
  int old = end.fd, kind = static_cast<int>(random().below(3));
  watch(end, epoll_, EPOLL_CTL_DEL);
  int to = 40 + static_cast<int>(random().below(20)) + 20 * p_->number;
  for (End* other : ends_)
    if (kind == 2 && other->fd == to && other != &end) {  // dup3 closes somebody
      other->closed = other->conn->rude = true;
      std::erase(ends_, other);
      ++traffic.rude;
      break;
    }
  long fd = kind == 0 ? lib_->dup(old) : kind == 1 ? lib_->fcntl(old, F_DUPFD_CLOEXEC, 10) : lib_->dup3(old, to, 0);
  if (fd < 0) sim.fail("dup: error %ld", -fd);
  end.fd = static_cast<int>(fd);
  watch(end, epoll_, EPOLL_CTL_ADD);
  if (random().percent(50)) read(end, false);
  if (old != fd) lib_->close(old);
}

void Program::close(End& end) {
  sim.trace("closes %s", describe(end).c_str());
  bool proper = end.ended;
  if (!proper) {
    end.conn->rude = true;
    ++traffic.rude;
  }
  end.closed = true;
  std::erase(ends_, &end);
  if (lib_->close(end.fd) != 0) sim.fail("close: %s", describe(end).c_str());
}

void Program::think() {
  int ms = static_cast<int>(random().below(random().percent(90) ? 3 : 60));
  lib_->poll(nullptr, 0, ms);
}

void Program::turn() {
  int waiting = waiting_for(p_);
  if (ends_.size() < kMostConns && random().one_in(12)) return connect();
  if (random().one_in(8)) return accept(listener_waits_ && waiting > 0);
  if (random().one_in(12)) return think();
  if (ends_.empty()) return think();
  End& end = *ends_[random().below(ends_.size())];
  if (end.broken) {
    if (random().percent(50)) read(end, false);  // it stays so
    return close(end);
  }
  switch (random().below(26)) {
    case 0: return wait_by_poll(p_, ends_, listener_);
    case 1: return wait_by_epoll(p_, ends_, epoll_);
    case 2:
    case 3: return check_poll(end);
    case 24: return check_epoll(end, epoll_);
    case 25:
      if (random().percent(20)) watch(end, epoll_, EPOLL_CTL_MOD);
      return check_epoll(end, epoll_);
    case 4: return check_names(end);
    case 5:
      if (random().one_in(4)) renumber(end);
      return;
    case 6:
      if (end.shut || !random().one_in(5)) return;
      end.shut = true;
      sim.trace("shuts connection %d behind byte %llu", end.conn->id, static_cast<unsigned long long>(end.sent));
      if (long r = lib_->shutdown(end.fd, SHUT_WR); r != 0 && !end.conn->rude && !end.conn->lossy)
        sim.fail("shutdown: error %ld: %s", -r, describe(end).c_str());
      return;
    case 7:
      if (end.ended || random().one_in(40)) close(end);
      return;
    default:
      if (random().percent(50) || end.shut) {
        if (!end.ended) read(end, read_is_due(end) && random().percent(60));
      } else {
        write(end);
      }
  }
}

void Program::finish() {
  bool gives_up = random().one_in(4);
  while (!ends_.empty() || active_connects > 0 || waiting_for(p_) > 0) {
    if (gives_up && active_connects == 0 && listener_ >= 0) {
      give_up_waiting(p_);
      lib_->close(std::exchange(listener_, -1));
    }
    if (waiting_for(p_) > 0) accept(listener_waits_);
    for (End* end : std::vector<End*>(ends_)) {
      if (!end->shut) {
        end->shut = true;
        lib_->shutdown(end->fd, SHUT_WR);
      }
      if (!end->ended && !end->broken) read(*end, false);
      if (end->ended || end->broken) close(*end);
    }
    std::vector<pollfd> asked;
    for (End* end : ends_) asked.push_back({end->fd, POLLIN, 0});
    lib_->poll(asked.data(), asked.size(), 50);
  }
  if (listener_ >= 0) lib_->close(listener_);
  lib_->close(epoll_);
  while (!lib_->linger(100) || active_moves > 0 || lib_->sockets() > 0 || p_->proc->table.size() > 1)
    lib_->poll(nullptr, 0, 50);
}

void Program::run() {
  listen();
  while (!stopping) turn();
  finish();
  sim.trace("ends");
  p_->proc->close_all();
}

}  // namespace

void run_program(Process* process, const std::vector<Process*>& all) { Program(process, all).run(); }

}  // namespace msocket::sim
