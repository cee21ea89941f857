// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/data_socket.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>

namespace msocket::daemons {

wire::ConnHeader header_for(wire::Purpose purpose, const Rank& rank, const wire::ControlRecord& about, Generation to_gen) {
  wire::ConnHeader header;
  header.preamble.purpose = purpose;
  header.conn = about.conn;
  header.from = about.local;
  header.to = about.peer;
  header.from_gen = rank.generation;
  header.to_gen = to_gen;
  strncpy(header.job, rank.spec.job().c_str(), sizeof header.job - 1);
  return header;
}

wire::Answer make_answer(const wire::Caller& caller, const wire::Key& cluster, wire::Verdict verdict, Generation gen) {
  wire::Answer answer;
  answer.verdict = verdict;
  answer.gen = gen;
  answer.tag = wire::make_tag(wire::job_key(cluster, caller.data->job), wire::bytes_of(caller.greeting),
                              wire::bytes_of(*caller.data), wire::before_tag(answer));
  return answer;
}

void say(tcp::socket& socket, const wire::Caller& caller, const wire::Key& cluster, wire::Verdict verdict, Generation gen) {
  wire::Answer answer = make_answer(caller, cluster, verdict, gen);
  (void)!::send(socket.native_handle(), &answer, sizeof answer, MSG_NOSIGNAL);
}

void make_plain(tcp::socket& socket) {
  socket.native_non_blocking(false);
  int off = 0;
  setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, &off, sizeof off);
}

ScopedFd take(tcp::socket& socket) {
  make_plain(socket);
  return ScopedFd(socket.release());
}

void watch_for_death(tcp::socket& socket) {
  int fd = socket.native_handle();
  int on = 1, idle = 10, interval = 5, count = 6;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

}  // namespace msocket::daemons
