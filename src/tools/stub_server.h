// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// mpiexec's side of its stubs (src/tools/stub_wire.h): each connection becomes a rank of the Home. Hydra numbers the
// ranks of every spawned world from 0 again; msocket numbers them on, so that JOB:RANK is one process. The first world
// keeps MPI's own numbers.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "src/tools/home.h"

namespace msocket {

class StubServer {
 public:
  using Local = asio::local::stream_protocol;

  /// Listens on `path`. `stub`: what spawned programs are to be started through. The first world's rank 0 reads our own
  /// standard input: through Hydra's proxy, a program that does not read at once would end the job ("process reading
  /// stdin too slowly").
  StubServer(Home& home, asio::any_io_executor executor, const std::string& path, std::string stub);
  ~StubServer();

 private:
  struct Stub {
    explicit Stub(Local::socket s) : socket(std::move(s)) {}
    Local::socket socket;
    uint32_t rank = 0;
    bool answered = false;
  };
  using StubPtr = std::shared_ptr<Stub>;

  awaitable<void> accept_loop();
  awaitable<void> serve(StubPtr stub);
  /// The stub's request and descriptors; throws when it is none.
  awaitable<proto::StartRank> read_start(Local::socket& socket, RankFds& fds);
  awaitable<void> answer(StubPtr stub, int wait_status, std::string text);
  uint32_t number(const proto::StartRank& spec, bool first_world);

  Home& home_;
  asio::any_io_executor executor_;
  std::string path_, stub_;
  Local::acceptor acceptor_;
  uint32_t next_spawned_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace msocket
