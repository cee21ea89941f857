// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/fd_io.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace msocket {

namespace {
// What epoll takes: not regular files, directories, and devices without a poll of their own such as /dev/null.
bool can_wait(int fd) {
  struct stat info{};
  if (fstat(fd, &info) != 0 || S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) return false;
  return !S_ISCHR(info.st_mode) || isatty(fd);
}

// The same file through an open file description of our own, whose flags nobody else sees.
int open_anew(int fd, FdEnd::Use use) {
  struct stat info{};
  if (fstat(fd, &info) != 0 || S_ISSOCK(info.st_mode)) return -1;
  std::string path = "/proc/self/fd/" + std::to_string(fd);
  int mode = use == FdEnd::Use::kRead ? O_RDONLY : O_WRONLY;
  return open(path.c_str(), mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}
}  // namespace

FdEnd::FdEnd(asio::any_io_executor executor, int fd, Use use, bool shared) : fd_(fd) {
  if (fd_ < 0 || !can_wait(fd_)) return;
  if (shared) {
    int own = open_anew(fd_, use);
    if (own >= 0) {
      ::close(fd_);
      fd_ = own;
    } else {
      restore_flags_ = fcntl(fd_, F_GETFL);
    }
  }
  stream_ = std::make_unique<asio::posix::stream_descriptor>(executor, fd_);
  stream_->native_non_blocking(true);
}

FdEnd::~FdEnd() { close(); }

void FdEnd::close() {
  if (fd_ < 0) return;
  if (restore_flags_ >= 0) fcntl(fd_, F_SETFL, restore_flags_);
  boost::system::error_code ignored;
  if (stream_)
    stream_->close(ignored);
  else
    ::close(fd_);
  fd_ = -1;
}

bool FdEnd::background_terminal() const { return isatty(fd_) && tcgetpgrp(fd_) != getpgrp(); }

awaitable<std::string> FdEnd::read_some(size_t limit) {
  std::string data(limit, '\0');
  while (fd_ >= 0) {
    ssize_t got = ::read(fd_, data.data(), data.size());
    if (got >= 0) {
      data.resize(got);
      co_return data;
    }
    if (errno == EINTR) continue;
    // With SIGTTIN ignored, a job in the background that reads its terminal gets EIO until it is in front again.
    if (errno == EIO && background_terminal()) {
      co_await sleep_for(Millis(300));
      continue;
    }
    if (errno != EAGAIN || !stream_) break;
    boost::system::error_code error;
    co_await stream_->async_wait(asio::posix::stream_descriptor::wait_read,
                                 asio::redirect_error(use_awaitable, error));
    if (error) break;
  }
  co_return std::string();
}

bool FdEnd::unread() const {
  struct stat st;
  int have = 0;
  return fd_ >= 0 && fstat(fd_, &st) == 0 && S_ISFIFO(st.st_mode) && ioctl(fd_, FIONREAD, &have) == 0 && have > 0;
}

awaitable<bool> FdEnd::write_all(std::string data) {
  size_t done = 0;
  while (done < data.size()) {
    if (fd_ < 0) co_return false;
    ssize_t put = ::write(fd_, data.data() + done, data.size() - done);
    if (put >= 0) {
      done += put;
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !stream_) co_return false;
    boost::system::error_code error;
    co_await stream_->async_wait(asio::posix::stream_descriptor::wait_write,
                                 asio::redirect_error(use_awaitable, error));
    if (error) co_return false;
  }
  co_return true;
}

}  // namespace msocket
