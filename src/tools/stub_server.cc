// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/stub_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include "src/tools/pmi_spawn.h"
#include "src/tools/stub_wire.h"

namespace msocket {

namespace {
// What a shell says for a program that is not there.
constexpr int kNotFoundStatus = 127 << 8;
constexpr int kFailedStatus = 1 << 8;

const char* variable(const proto::StartRank& spec, const std::string& name) {
  for (const std::string& entry : spec.env())
    if (entry.rfind(name + "=", 0) == 0) return entry.c_str() + name.size() + 1;
  return nullptr;
}

uint32_t number_of(const char* text) { return text ? std::strtoul(text, nullptr, 10) : 0; }

bool same_user(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == getuid();
}

// The length of the request and the descriptors that come with it.
uint32_t receive_head(int fd, RankFds& fds) {
  uint32_t length = 0;
  int got[4] = {-1, -1, -1, -1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof got)] = {};
  iovec part{&length, sizeof length};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
      std::memcpy(got, CMSG_DATA(header), std::min(sizeof got, header->cmsg_len - CMSG_LEN(0)));
  fds.in = got[0];
  fds.out = got[1];
  fds.err = got[2];
  fds.pmi = got[3];
  if (size != sizeof length || length > kMaxStart || fds.err < 0) {
    for (int fd : got)
      if (fd >= 0) close(fd);
    throw std::runtime_error("not a stub");
  }
  return length;
}
}  // namespace

StubServer::StubServer(Home& home, asio::any_io_executor executor, const std::string& path, std::string stub)
    : home_(home), executor_(executor), path_(path), stub_(std::move(stub)), acceptor_(executor) {
  Local::endpoint endpoint(path);
  acceptor_.open(endpoint.protocol());
  mode_t mask = umask(0077);
  boost::system::error_code error;
  acceptor_.bind(endpoint, error);
  umask(mask);
  if (error) throw std::runtime_error(path + ": " + error.message());
  acceptor_.listen();
  spawn(executor_, [this]() -> awaitable<void> { co_await accept_loop(); });
}

StubServer::~StubServer() {
  *alive_ = false;
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  unlink(path_.c_str());
}

awaitable<void> StubServer::accept_loop() {
  auto alive = alive_;
  while (*alive) {
    Local::socket socket(executor_);
    boost::system::error_code error;
    co_await acceptor_.async_accept(socket, asio::redirect_error(use_awaitable, error));
    if (!*alive || error == asio::error::operation_aborted) co_return;
    if (error) {  // out of descriptors: some will be free again
      co_await sleep_for(Millis(50));
      continue;
    }
    if (!same_user(socket.native_handle())) continue;
    auto stub = std::make_shared<Stub>(std::move(socket));
    spawn(executor_, [this, stub]() -> awaitable<void> { co_await serve(stub); });
  }
}

awaitable<proto::StartRank> StubServer::read_start(Local::socket& socket, RankFds& fds) {
  co_await socket.async_wait(Local::socket::wait_read, use_awaitable);
  uint32_t length = receive_head(socket.native_handle(), fds);
  std::string bytes(length, '\0');
  co_await asio::async_read(socket, asio::buffer(bytes), use_awaitable);
  proto::StartRank spec;
  if (!spec.ParseFromString(bytes) || spec.argv().empty()) throw std::runtime_error("not a stub");
  co_return spec;
}

uint32_t StubServer::number(const proto::StartRank& spec, bool first_world) {
  if (!first_world) return next_spawned_++;
  next_spawned_ = std::max(next_spawned_, number_of(variable(spec, "PMI_SIZE")));
  return number_of(variable(spec, "PMI_RANK"));
}

awaitable<void> StubServer::serve(StubPtr stub) {
  auto alive = alive_;
  proto::StartRank spec;
  RankFds fds;
  spec = co_await read_start(stub->socket, fds);
  if (!*alive) co_return;
  std::string node = spec.node(), program = spec.argv(0);
  const char* spawned = variable(spec, "PMI_SPAWNED");
  bool first_world = !spawned || std::string(spawned) == "0";
  stub->rank = number(spec, first_world);
  if (first_world && stub->rank == 0) {
    int own = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    if (own >= 0) std::swap(own, fds.in);
    if (own >= 0) close(own);
    fds.shared_in = true;
  }
  spec.set_rank(stub->rank);
  auto rewriter = std::make_shared<PmiSpawnRewriter>(stub_);
  Home::OnExit on_exit = [this, alive, stub](int wait_status, const std::string& lost) {
    std::string text = lost.empty() ? "" : "mpiexec: " + lost;
    spawn(executor_, [this, alive, stub, wait_status, text]() -> awaitable<void> {
      if (*alive) co_await answer(stub, wait_status, text);
    });
  };
  RankIo::Filter filter = [rewriter](std::string_view data) { return rewriter->feed(data); };
  std::string why;
  try {
    co_await home_.start(std::move(spec), std::move(fds), node, on_exit, filter);
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (!*alive) co_return;
  if (!why.empty()) {
    bool missing = why.find("no such program") != std::string::npos;
    std::string text = "mpiexec: rank " + std::to_string(stub->rank) + " on " + node + ": " + why;
    co_await answer(stub, missing ? kNotFoundStatus : kFailedStatus, text);
    co_return;
  }
  // From here on the stub says signals, and its end is the rank's.
  while (!stub->answered) {
    int32_t signo = 0;
    boost::system::error_code error;
    co_await asio::async_read(stub->socket, asio::buffer(&signo, sizeof signo),
                              asio::redirect_error(use_awaitable, error));
    if (!*alive || stub->answered) co_return;
    home_.signal(stub->rank, error ? SIGKILL : signo);
    if (error) co_return;
  }
}

awaitable<void> StubServer::answer(StubPtr stub, int wait_status, std::string text) {
  stub->answered = true;
  StubAnswer head;
  head.wait_status = wait_status;
  head.text_length = text.size();
  std::string bytes(reinterpret_cast<const char*>(&head), sizeof head);
  bytes += text;
  boost::system::error_code error;  // Hydra may have killed the stub
  co_await asio::async_write(stub->socket, asio::buffer(bytes), asio::redirect_error(use_awaitable, error));
  // The stub closes when it has ended; until then closing here could take the answer away from it.
}

}  // namespace msocket
