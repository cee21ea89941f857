// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/image_pump.h"

#include <errno.h>
#include <spdlog/spdlog.h>
#include <string.h>
#include <sys/socket.h>

#include <stdexcept>

#include "src/daemons/in_thread.h"

namespace msocket::daemons {

awaitable<uint64_t> write_image_file(asio::any_io_executor executor, std::shared_ptr<wire::ImageFileWriter> file,
                                     proto::ImageHead head, ScopedFd from_process) {
  auto in = std::make_shared<ScopedFd>(std::move(from_process));
  std::function<void()> work = [file, in, head = std::move(head)] {
    // Whatever happens, the process must not wait for somebody to read.
    struct Closer {
      std::shared_ptr<ScopedFd> fd;
      ~Closer() { fd->reset(); }
    } closer{in};
    file->head(head);
    std::string buffer(wire::kImageBlockMost, '\0');
    std::string last;
    for (size_t have = 0;;) {
      ssize_t n = recv(in->get(), buffer.data() + have, buffer.size() - have, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw std::runtime_error(std::string("the image broke off: ") + strerror(errno));
      have += n;
      if (have == buffer.size() || (n == 0 && have > 0)) {
        file->data(buffer.data(), have);
        last.append(buffer, 0, have);
        if (last.size() > sizeof(wire::ImageRun)) last.erase(0, last.size() - sizeof(wire::ImageRun));
        have = 0;
      }
      if (n == 0) break;
    }
    if (last != std::string(sizeof(wire::ImageRun), '\0')) throw std::runtime_error("the image ended early");
    file->finish();
  };
  co_await run_in_thread(executor, std::move(work));
  co_return file->bytes();
}

awaitable<proto::ImageHead> verify_image(asio::any_io_executor executor, std::string path) {
  auto head = std::make_shared<proto::ImageHead>();
  std::function<void()> work = [path, head] {
    wire::ImageFileReader file(path);
    std::string data;
    while (file.next(&data)) {
    }
    *head = file.head();
  };
  co_await run_in_thread(executor, std::move(work));
  co_return *head;
}

void feed_image(std::string path, std::string id, ScopedFd to_process) {
  auto out = std::make_shared<ScopedFd>(std::move(to_process));
  in_thread([path, id, out] {
    try {
      wire::ImageFileReader file(path);
      if (file.head().id() != id) throw std::runtime_error(path + ": is another image now");
      std::string data;
      while (file.next(&data))
        for (size_t at = 0; at < data.size();) {
          ssize_t n = send(out->get(), data.data() + at, data.size() - at, MSG_NOSIGNAL);
          if (n < 0 && errno == EINTR) continue;
          if (n < 0) return;  // it has ended, and its daemon sees that
          at += n;
        }
    } catch (const std::exception& error) {
      spdlog::warn("{}", error.what());
    }
    out->reset();
  });
}

}  // namespace msocket::daemons
