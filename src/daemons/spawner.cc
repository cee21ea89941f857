// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "src/util/text.h"

namespace msocket::daemons {

namespace {

rlimit limit_before{};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (auto& text : texts) list.push_back(const_cast<char*>(text.c_str()));
  list.push_back(nullptr);
  return list;
}

bool runnable(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && access(path.c_str(), X_OK) == 0;
}

// In the child, between fork and exec: only system calls.
[[noreturn]] void become(const SpawnSpec& spec, char** argv, char** env, int report, int highest) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setpgid(0, 0);
  for (int sig = 1; sig < 65; ++sig) signal(sig, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (spec.fixed_addresses && personality(ADDR_NO_RANDOMIZE) < 0) fail(report, "fixed addresses");
  // All out of the way first, so that no target number overwrites a source.
  int parked[8];
  int base = highest + 1;
  for (size_t i = 0; i < spec.fds.size(); ++i)
    if ((parked[i] = fcntl(spec.fds[i].first, F_DUPFD_CLOEXEC, base)) < 0) fail(report, "descriptors");
  int moved_report = fcntl(report, F_DUPFD_CLOEXEC, base);
  for (size_t i = 0; i < spec.fds.size(); ++i)
    if (dup2(parked[i], spec.fds[i].second) < 0) fail(moved_report, "descriptors");
  int next = 0;
  std::pair<int, int> kept[8];
  for (size_t i = 0; i < spec.fds.size(); ++i) kept[i] = {spec.fds[i].second, 0};
  std::sort(kept, kept + spec.fds.size());
  for (size_t i = 0; i < spec.fds.size(); ++i) {
    if (kept[i].first > next) syscall(SYS_close_range, next, kept[i].first - 1, 0);
    next = kept[i].first + 1;
  }
  if (moved_report > next) syscall(SYS_close_range, next, moved_report - 1, 0);
  syscall(SYS_close_range, moved_report + 1, ~0u, 0);
  if (!spec.cwd.empty() && chdir(spec.cwd.c_str()) != 0) fail(moved_report, spec.cwd.c_str());
  umask(spec.umask);
  if (!spec.all_descriptors && limit_before.rlim_cur > static_cast<rlim_t>(base)) setrlimit(RLIMIT_NOFILE, &limit_before);
  if (CPU_COUNT(&spec.cpus) > 0) sched_setaffinity(0, sizeof spec.cpus, &spec.cpus);
  execve(spec.program.c_str(), argv, env);
  fail(moved_report, "exec");
}

}  // namespace

void fail(int report, const char* what) {
  SpawnReport failure;
  failure.error = errno;
  strncpy(failure.what, what, sizeof failure.what - 1);
  (void)!write(report, &failure, sizeof failure);
  _exit(127);
}

void raise_descriptor_limit() {
  if (getrlimit(RLIMIT_NOFILE, &limit_before) != 0) return;
  rlimit all = limit_before;
  all.rlim_cur = all.rlim_max;
  setrlimit(RLIMIT_NOFILE, &all);
}

Spawning::Spawning(const SpawnSpec& spec) : program_(spec.program), apart_(spec.namespaces != NamespaceKind::kNone) {
  int pair[2];
  if (pipe2(pair, O_CLOEXEC) != 0) throw std::runtime_error("no descriptors left for a new process");
  report_.reset(pair[0]);
  ScopedFd write_end(pair[1]);
  std::vector<char*> argv = pointers(spec.argv), env = pointers(spec.env);
  std::string init = own_folder() + "/msinit";
  int highest = 2;
  for (auto [ours, theirs] : spec.fds) highest = std::max({highest, ours, theirs});
  child_ = fork();
  if (child_ < 0) throw std::runtime_error(std::string("cannot start a process: ") + strerror(errno));
  if (child_ == 0) {
    if (apart_) go_on_in_namespaces(spec.namespaces, spec.identity, init.c_str(), write_end.get());
    become(spec, argv.data(), env.data(), write_end.get(), std::max(highest, write_end.get()));
  }
  if (!apart_) spawned_.pid = child_;
}

bool Spawning::take() {
  SpawnReport report;
  ssize_t n = read(report_.get(), &report, sizeof report);
  if (n < 0 && errno == EINTR) return false;
  if (n != sizeof report) return true;
  if (report.error && !failure_.error) failure_ = report;
  if (report.init > 0) spawned_.init = report.init;
  if (report.pid > 0) spawned_.pid = report.pid;
  return false;
}

Spawned Spawning::result() {
  if (apart_) waitpid(child_, nullptr, 0);  // the helper
  if (!failure_.error && spawned_.pid > 0) return spawned_;
  if (spawned_.init > 0) {
    kill(spawned_.init, SIGKILL);  // and with it whoever is in there
    waitpid(spawned_.init, nullptr, 0);
  }
  if (spawned_.pid > 0) waitpid(spawned_.pid, nullptr, 0);
  if (!failure_.error) throw std::runtime_error("a new process has ended at once");
  std::string what = failure_.what;
  throw std::runtime_error((what == "exec" ? program_ : what) + ": " + strerror(failure_.error));
}

Spawned spawn_process(const SpawnSpec& spec) {
  Spawning spawning(spec);
  while (!spawning.take()) {
  }
  return spawning.result();
}

awaitable<Spawned> start_process(asio::any_io_executor executor, const SpawnSpec& spec) {
  Spawning spawning(spec);
  asio::posix::stream_descriptor report(executor, fcntl(spawning.fd(), F_DUPFD_CLOEXEC, 0));
  for (bool over = false; !over;) {
    co_await report.async_wait(asio::posix::stream_descriptor::wait_read, use_awaitable);
    over = spawning.take();
  }
  co_return spawning.result();
}

std::string find_program(const std::string& name, const std::vector<std::string>& env, const std::string& cwd) {
  auto absolute = [&](const std::string& path) { return path[0] == '/' ? path : cwd + "/" + path; };
  if (name.find('/') != std::string::npos) {
    std::string path = absolute(name);
    if (!runnable(path)) throw std::runtime_error(name + ": no such program");
    return path;
  }
  std::string search = "/usr/local/bin:/usr/bin:/bin";
  for (auto& entry : env)
    if (entry.starts_with("PATH=")) search = entry.substr(5);
  for (auto& folder : split(search, ':')) {
    std::string path = absolute((folder.empty() ? "." : folder) + "/" + name);
    if (runnable(path)) return path;
  }
  throw std::runtime_error(name + ": no such program");
}

std::string own_folder() {
  char path[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  std::string text(path, n < 0 ? 0 : n);
  return text.substr(0, text.rfind('/'));
}

}  // namespace msocket::daemons
