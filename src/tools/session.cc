// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/session.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "src/wire/config.h"

namespace msocket {

namespace {
namespace fs = std::filesystem;

void remove_stale(const std::string& base) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(base, error)) {
    std::string name = entry.path().filename();
    if (!name.starts_with("msocket-") || name.starts_with("msocket-local-")) continue;  // that one: shared_cluster.cc
    int fd = open((entry.path() / "lock").c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    bool keep = flock(fd, LOCK_EX | LOCK_NB) != 0 || fs::exists(entry.path() / "keep", error);
    if (!keep) fs::remove_all(entry.path(), error);
    close(fd);
  }
}
}  // namespace

Session::Session() : owner_(getpid()) {
  std::string base = runtime_base();
  remove_stale(base);
  folder_ = base + "/msocket-" + std::to_string(owner_) + ".XXXXXX";
  if (!mkdtemp(folder_.data())) throw std::runtime_error(folder_ + ": " + std::strerror(errno));
  // Locked before it has its name: nobody takes it for stale.
  lock_ = open(path("lock.new").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (lock_ < 0 || flock(lock_, LOCK_EX) != 0 || rename(path("lock.new").c_str(), path("lock").c_str()) != 0)
    throw std::runtime_error(folder_ + ": " + std::strerror(errno));
}

Session::~Session() {
  if (getpid() != owner_) return;
  std::error_code error;
  if (std::getenv("MSOCKET_KEEP_SESSION")) {
    int fd = open(path("keep").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
    std::fprintf(stderr, "session kept: %s\n", folder_.c_str());
  } else {
    fs::remove_all(folder_, error);
  }
  if (lock_ >= 0) close(lock_);
}

std::string program_folder() {
  if (const char* given = std::getenv("MSOCKET_BINDIR"); given && *given) return given;
  std::error_code error;
  fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) throw std::runtime_error("/proc/self/exe: " + error.message());
  return self.parent_path();
}

}  // namespace msocket
