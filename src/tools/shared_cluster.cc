// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/shared_cluster.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "src/tools/private_cluster.h"
#include "src/tools/session.h"
#include "src/tools/signals.h"

namespace msocket {

namespace {
constexpr Millis kReadyLimit(30000);
constexpr Millis kLockLimit(90000);   // above what a start may take, twice the one above
constexpr Millis kAnswerLimit(5000);  // a daemon that is ending refuses at once; one on a loaded machine needs time
constexpr Millis kLeaveLimit(200);
constexpr Millis kLook(10);

[[noreturn]] void fail(const std::string& path) { throw std::runtime_error(path + ": " + std::strerror(errno)); }

bool same_file(int fd, const std::string& path) {
  struct stat held{}, named{};
  return fstat(fd, &held) == 0 && lstat(path.c_str(), &named) == 0 && held.st_dev == named.st_dev &&
         held.st_ino == named.st_ino;
}

// Reaps it if it has ended; throws the reason then.
void must_live(const std::string& name, pid_t pid, const std::string& log) {
  int status = 0;
  if (waitpid(pid, &status, WNOHANG) == pid)
    throw std::runtime_error(name + " does not start (" + ending(status) + "): " + last_line_of(log));
}
}  // namespace

SharedCluster::~SharedCluster() {
  if (!lifeline_) return;
  // Who has the lock for longer is joining, and sees to the files when his turn comes to leave.
  for (auto deadline = Clock::now() + kLeaveLimit; !lock_ && Clock::now() < deadline;) {
    try {
      if (try_lock()) break;
    } catch (const std::exception&) {
      return;  // somebody has put something else in the folder's place
    }
    std::this_thread::sleep_for(Millis(5));
  }
  if (!lock_) return;
  bool ours = same_file(lifeline_.get(), path("lifeline"));  // else it has been started anew without us
  lifeline_.reset();
  if (!ours || lifeline_held(path("lifeline"))) return;
  if (std::getenv("MSOCKET_KEEP_SESSION")) {
    std::fprintf(stderr, "session kept: %s\n", folder_.c_str());
    return;
  }
  remove_files();
  unlink(path("lock").c_str());
  rmdir(folder_.c_str());
}

// The last one removes the lock and the folder too: only a lock that still has its name counts.
bool SharedCluster::try_lock() {
  folder_ = local_cluster_folder();
  if (mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) fail(folder_);
  folder_ = local_cluster_folder();  // what is there now must be ours
  ScopedFd lock(open(path("lock").c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock && errno == ENOENT) return false;
  if (!lock) fail(path("lock"));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0 || !same_file(lock.get(), path("lock"))) return false;
  lock_ = std::move(lock);
  return true;
}

awaitable<void> SharedCluster::join(asio::any_io_executor executor) {
  for (auto deadline = Clock::now() + kLockLimit; !try_lock();) {
    if (Clock::now() >= deadline)
      throw std::runtime_error(path("lock") + ": another msrun has been starting for too long");
    co_await sleep_for(kLook);
  }
  // Without a reader this fails (ENXIO): then nothing is alive.
  lifeline_.reset(open(path("lifeline").c_str(), O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  bool alive = false;
  if (lifeline_) alive = co_await answers(executor);
  if (!alive) {
    lifeline_.reset();
    co_await start(executor);
  }
  lock_.reset();
}

awaitable<bool> SharedCluster::answers(asio::any_io_executor executor) {
  try {
    config_ = load_config(path("config.json"));
    Cluster cluster(executor, config_);
    Link::Ptr master = co_await cluster.link_to(config_.masters.front().address, config_.masters.front().port, kAnswerLimit);
    proto::Envelope request;
    request.mutable_list_nodes();
    proto::Envelope reply = co_await master->call(std::move(request), kAnswerLimit);
    std::vector<proto::NodeInfo> nodes(reply.list_nodes().nodes().begin(), reply.list_nodes().nodes().end());
    const proto::NodeInfo* node = find_node(nodes, config_.node.name);
    if (!node || !node->alive()) co_return false;
    Link::Ptr daemon = co_await cluster.link_to(node->address(), node->port(), kAnswerLimit);
    proto::Envelope question;
    question.mutable_list_ranks();
    co_await daemon->call(std::move(question), kAnswerLimit);
    co_return true;
  } catch (const std::exception&) {
  }
  co_return false;
}

awaitable<void> SharedCluster::start(asio::any_io_executor executor) {
  remove_files();
  if (mkfifo(path("lifeline").c_str(), 0600) != 0) fail(path("lifeline"));
  // Non-blocking for the daemons as well: see src/daemons/lifeline.h. The reader first, or there would be no writer.
  ScopedFd reader(open(path("lifeline").c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  lifeline_.reset(open(path("lifeline").c_str(), O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  if (!reader || !lifeline_) fail(path("lifeline"));

  config_ = Config();
  config_.key = wire::random_key();
  MasterConfig own;
  own.address = "127.0.0.1";
  own.port = 0;
  config_.masters = {own};
  config_.node.name = own_host_name();
  config_.node.address = own.address;
  config_.node.port = 0;
  save_config(config_, path("start.json"));
  pid_t master = launch("msmaster", reader.get());
  config_.masters.front().port = co_await master_port(master);
  save_config(config_, path("start.json"));
  pid_t daemon = launch("msdaemon", reader.get());
  co_await wait_ready(executor, master, daemon);
  if (rename(path("start.json").c_str(), path("config.json").c_str()) != 0) fail(path("config.json"));
}

pid_t SharedCluster::launch(const std::string& program, int lifeline) {
  ScopedFd log(open(path(program + ".log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!log) fail(path(program + ".log"));
  std::vector<std::string> command = {program_folder() + "/" + program, "--config", path("start.json"), "--lifeline-fd", "0"};
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid > 0) return pid;
  setsid();  // this msrun's terminal, its signals and its end are not theirs
  prepare_child();
  unsetenv("MSOCKET_HOME");
  dup2(lifeline, 0);
  dup2(log.get(), 1);
  dup2(log.get(), 2);
  (void)!chdir("/");  // the user may want to unmount where the first of them began
  execvp(argv[0], argv.data());
  dprintf(2, "%s: %s\n", argv[0], std::strerror(errno));
  _exit(127);
}

// It prints "listening on ADDRESS:PORT" when it does.
awaitable<uint16_t> SharedCluster::master_port(pid_t master) {
  std::string name = path("msmaster.log");
  for (auto deadline = Clock::now() + kReadyLimit; Clock::now() < deadline;) {
    std::ifstream log(name);
    for (std::string line; std::getline(log, line) && !log.eof();) {  // a line without its end is not all of it
      auto colon = line.rfind(':');
      if (line.starts_with("listening on ") && colon != std::string::npos)
        co_return static_cast<uint16_t>(std::atoi(&line[colon + 1]));
    }
    must_live("msmaster", master, name);
    co_await sleep_for(kLook);
  }
  throw std::runtime_error("msmaster does not start: " + last_line_of(name));
}

awaitable<void> SharedCluster::wait_ready(asio::any_io_executor executor, pid_t master, pid_t daemon) {
  Cluster cluster(executor, config_);
  for (auto deadline = Clock::now() + kReadyLimit; Clock::now() < deadline;) {
    std::vector<proto::NodeInfo> nodes;
    try {
      nodes = co_await cluster.nodes();
    } catch (const std::exception&) {
    }
    const proto::NodeInfo* node = find_node(nodes, config_.node.name);
    if (node && node->alive()) co_return;
    must_live("msmaster", master, path("msmaster.log"));
    must_live("msdaemon", daemon, path("msdaemon.log"));
    co_await sleep_for(kLook);
  }
  throw std::runtime_error("no daemon within half a minute: " + last_line_of(path("msdaemon.log")));
}

void SharedCluster::remove_files() {
  for (const char* name : {"config.json", "start.json", "start.json.new", "lifeline", "msmaster.log", "msdaemon.log"})
    unlink(path(name).c_str());
}

}  // namespace msocket
