// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <utility>

#include "src/daemons/record_check.h"
#include "src/transport/channel.h"

namespace msocket::daemons {

ProcessChannel::ProcessChannel(asio::any_io_executor executor, ScopedFd fd) : descriptor_(executor, fd.release()) {}

void ProcessChannel::start(OnRecord on_record, std::function<void()> on_end) {
  on_record_ = std::move(on_record);
  on_end_ = std::move(on_end);
  auto self = shared_from_this();
  spawn(descriptor_.get_executor(), [self]() -> awaitable<void> {
    try {
      co_await self->read_loop();
    } catch (const std::exception&) {
    }
    auto on_end = std::move(self->on_end_);
    self->on_record_ = nullptr;
    self->on_end_ = nullptr;
    if (on_end) on_end();
  });
}

awaitable<void> ProcessChannel::read_loop() {
  while (descriptor_.is_open()) {
    co_await descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, use_awaitable);
    for (;;) {
      wire::ControlRecord record;
      int fds[wire::kMaxControlFds], count = 0;
      long r = transport::receive_record(descriptor_.native_handle(), &record, sizeof record, fds, &count, true);
      if (r == -EAGAIN) break;
      if (r != 0) co_return;
      std::vector<ScopedFd> owned;
      for (int i = 0; i < count; ++i) owned.emplace_back(fds[i]);
      if (sane(record) && on_record_) on_record_(record, std::move(owned));
      if (!descriptor_.is_open()) co_return;
    }
  }
}

bool ProcessChannel::has_room() {
  pollfd p{descriptor_.native_handle(), POLLOUT, 0};
  return poll(&p, 1, 0) == 1;
}

bool ProcessChannel::send(const wire::ControlRecord& record, std::vector<int> fds) {
  if (!descriptor_.is_open()) return false;
  if (kept_.empty() && has_room())
    return transport::send_control(descriptor_.native_handle(), record, fds.data(), static_cast<int>(fds.size())) == 0;
  std::vector<ScopedFd> copies;
  for (int fd : fds) copies.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  kept_.emplace_back(record, std::move(copies));
  if (std::exchange(writing_, true)) return true;
  auto self = shared_from_this();
  spawn(descriptor_.get_executor(), [self]() -> awaitable<void> {
    co_await self->write_loop();
    self->writing_ = false;
  });
  return true;
}

awaitable<void> ProcessChannel::write_loop() {
  while (!kept_.empty()) {
    boost::system::error_code error;
    co_await descriptor_.async_wait(asio::posix::stream_descriptor::wait_write, asio::redirect_error(use_awaitable, error));
    if (error) kept_.clear();  // closed
    while (!kept_.empty() && has_room()) {
      auto& [record, copies] = kept_.front();
      std::vector<int> fds;
      for (auto& fd : copies) fds.push_back(fd.get());
      transport::send_control(descriptor_.native_handle(), record, fds.data(), static_cast<int>(fds.size()));
      kept_.pop_front();
    }
  }
}

bool ProcessChannel::try_send(const wire::ControlRecord& record) {
  if (!descriptor_.is_open()) return false;
  return ::send(descriptor_.native_handle(), &record, sizeof record, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof record;
}

void ProcessChannel::close() {
  boost::system::error_code ignored;
  descriptor_.close(ignored);
}

}  // namespace msocket::daemons
