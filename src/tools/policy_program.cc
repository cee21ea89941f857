// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/policy_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "src/tools/signals.h"

namespace msocket {

namespace {
constexpr size_t kMaxAnswer = 1024 * 1024;

struct Fd {
  int value = -1;
  ~Fd() { reset(); }
  void reset() {
    if (value >= 0) close(value);
    value = -1;
  }
};

void make_pipe(Fd& read_end, Fd& write_end) {
  int both[2];
  if (pipe2(both, O_CLOEXEC) != 0) throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
  read_end.value = both[0];
  write_end.value = both[1];
}

// Feeds and reads until the answer ends; false: the limit has passed.
bool exchange(Fd& to, Fd& from, const std::string& state, std::string& answer, Clock::time_point deadline) {
  fcntl(to.value, F_SETFL, O_NONBLOCK);
  size_t sent = 0;
  while (true) {
    if (to.value >= 0 && sent == state.size()) to.reset();
    auto left = std::chrono::duration_cast<Millis>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd ready[2] = {{from.value, POLLIN, 0}, {to.value, POLLOUT, 0}};
    if (poll(ready, 2, static_cast<int>(left)) < 0) continue;
    if (ready[1].revents) {
      ssize_t put = write(to.value, state.data() + sent, state.size() - sent);
      if (put > 0) sent += put;
      if (put < 0 && errno != EAGAIN && errno != EINTR) to.reset();  // it does not want to know all
    }
    if (!ready[0].revents) continue;
    char buffer[65536];
    ssize_t got = read(from.value, buffer, sizeof buffer);
    if (got == 0) return true;
    if (got > 0) answer.append(buffer, got);
    if (answer.size() > kMaxAnswer) throw std::runtime_error("answers more than 1 MiB");
  }
}
}  // namespace

std::string run_policy_program(const std::string& program, const std::string& state, Millis limit) {
  if (access(program.c_str(), X_OK) != 0) throw std::runtime_error(std::strerror(errno));
  Fd in_read, in_write, out_read, out_write;
  make_pipe(in_read, in_write);
  make_pipe(out_read, out_write);
  auto deadline = Clock::now() + limit;
  pid_t child = fork();
  if (child < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  if (child == 0) {
    setpgid(0, 0);
    prepare_child();
    dup2(in_read.value, 0);
    dup2(out_write.value, 1);
    execl(program.c_str(), program.c_str(), static_cast<char*>(nullptr));
    dprintf(2, "%s: %s\n", program.c_str(), std::strerror(errno));
    _exit(127);
  }
  setpgid(child, child);  // whoever of the two comes first
  in_read.reset();
  out_write.reset();
  std::string answer, why;
  int status = 0;
  try {
    bool in_time = exchange(in_write, out_read, state, answer, deadline);
    while (in_time && waitpid(child, &status, WNOHANG) == 0) {
      in_time = Clock::now() < deadline;
      std::this_thread::sleep_for(Millis(2));
    }
    if (in_time) child = -1;
    if (!in_time) why = "does not answer within " + std::to_string(limit.count() / 1000) + " s";
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (child > 0) {
    kill(-child, SIGKILL);
    waitpid(child, &status, 0);
  } else if (WIFSIGNALED(status)) {
    why = "was killed by signal " + std::to_string(WTERMSIG(status));
  } else if (WEXITSTATUS(status) != 0) {
    why = "ended with exit status " + std::to_string(WEXITSTATUS(status));
  }
  if (!why.empty()) throw std::runtime_error(why);
  return answer;
}

}  // namespace msocket
