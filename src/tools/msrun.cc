// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// msrun: one process under msocket, without MPI. Its standard streams, signals and exit status are the user's as if it
// ran here; the process itself may move from node to node.
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include "src/tools/home.h"
#include "src/tools/options.h"
#include "src/tools/private_cluster.h"
#include "src/tools/session.h"
#include "src/tools/shared_cluster.h"
#include "src/tools/signals.h"

extern char** environ;

namespace {
using namespace msocket;

constexpr const char* kHelp =
    "usage: msrun [OPTIONS] PROGRAM [ARGUMENTS]\n"
    "\n"
    "Runs a program whose connections follow it from node to node. Without a configuration a daemon runs on\n"
    "this host for all of your msruns: the first one starts it, and it ends with the last.\n";

// libmsocket-preload.so: beside this program's folder as installed, or $MSOCKET_PRELOAD.
std::string preload_library() {
  if (const char* given = std::getenv("MSOCKET_PRELOAD"); given && *given) return given;
  std::string path = std::filesystem::path(program_folder()).parent_path() / "lib" / "libmsocket-preload.so";
  if (access(path.c_str(), R_OK) != 0)
    throw std::runtime_error("no library " + path + " (install msocket, or set MSOCKET_PRELOAD)");
  return path;
}

proto::StartRank describe(const CommandLine& line) {
  proto::StartRank spec;
  for (const std::string& word : line.words) spec.add_argv(word);
  std::string preload = line.has("no-preload") ? "" : preload_library();
  for (char** variable = environ; *variable; variable++) {
    if (std::strncmp(*variable, "MSOCKET_HOME=", 13) == 0) continue;
    if (!preload.empty() && std::strncmp(*variable, "LD_PRELOAD=", 11) == 0) preload += std::string(":") + (*variable + 11);
    else spec.add_env(*variable);
  }
  if (!preload.empty()) spec.add_env("LD_PRELOAD=" + preload);
  char cwd[PATH_MAX];
  if (!getcwd(cwd, sizeof cwd)) throw std::runtime_error(std::string("working directory: ") + std::strerror(errno));
  spec.set_cwd(cwd);
  mode_t mask = umask(0);
  umask(mask);
  spec.set_umask(mask);
  if (line.has("vip")) {
    in_addr address{};
    if (inet_pton(AF_INET, line.text("vip").c_str(), &address) != 1)
      throw std::runtime_error("--vip " + line.text("vip") + ": not an IPv4 address");
    spec.set_wanted_vip(ntohl(address.s_addr));
  }
  return spec;
}

RankFds own_streams() {
  RankFds fds;
  auto copy = [](int fd, int flags) {
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return own >= 0 ? own : open("/dev/null", flags | O_CLOEXEC);
  };
  fds.in = copy(0, O_RDONLY);
  fds.out = copy(1, O_WRONLY);
  fds.err = copy(2, O_WRONLY);
  fds.shared_in = fds.shared_out = true;
  return fds;
}

class Msrun {
 public:
  Msrun(asio::any_io_executor executor, CommandLine line)
      : executor_(executor),
        line_(std::move(line)),
        signals_(executor, {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP, SIGWINCH}) {}

  /// Returns the program's wait status; throws one line for the user.
  awaitable<int> run(std::function<void(int)> give_up) {
    spawn(executor_, [this, give_up]() -> awaitable<void> { co_await watch_signals(give_up); });
    std::optional<std::string> path = find_config(line_.text("config"), false);
    Config config;
    if (path) {
      config = load_config(*path);
    } else {
      cluster_.emplace();
      co_await cluster_->join(executor_);
      config = cluster_->config();
    }
    home_.emplace(executor_, config);
    std::vector<proto::NodeInfo> nodes = co_await home_->cluster().nodes();
    std::string node = line_.text("node");
    if (node.empty()) node = choose(nodes);
    number_ = co_await home_->join_shared_job();
    proto::StartRank spec = describe(line_);
    spec.set_rank(number_);
    RankFds fds = own_streams();
    RankIo::Filter no_filter;
    Home::OnExit on_exit = [this](int wait_status, const std::string& why) {
      if (!why.empty()) std::fprintf(stderr, "msrun: %s\n", why.c_str());
      wait_status_ = wait_status;
    };
    co_await home_->start(std::move(spec), std::move(fds), node, on_exit, no_filter);
    started_ = true;
    co_await home_->wait_all();
    co_return wait_status_;
  }

 private:
  // Here, if this host is a node; else where there is most room.
  std::string choose(const std::vector<proto::NodeInfo>& nodes) const {
    const proto::NodeInfo* best = nullptr;
    auto room = [](const proto::NodeInfo& node) {
      return static_cast<int>(node.slots() ? node.slots() : node.cores()) - static_cast<int>(node.ranks());
    };
    for (const auto& node : nodes) {
      if (!node.alive()) continue;
      if (is_local_host(node.address())) return node.name();
      if (!best || room(node) > room(*best)) best = &node;
    }
    if (!best) throw std::runtime_error("no node is alive");
    return best->name();
  }

  awaitable<void> watch_signals(std::function<void(int)> give_up) {
    while (true) {
      signalfd_siginfo info = co_await signals_.next();
      int signo = info.ssi_signo;
      if (!started_) {
        if (signo == SIGINT || signo == SIGTERM || signo == SIGHUP || signo == SIGQUIT) give_up(signo);
        continue;
      }
      if (signo != SIGTSTP) {
        home_->signal(number_, signo);
        continue;
      }
      // Ctrl-Z stops the program there and msrun here; `fg` lets both go on.
      home_->signal(number_, SIGSTOP);
      co_await sleep_for(Millis(50));
      raise(SIGSTOP);
      home_->signal(number_, SIGCONT);
    }
  }

  asio::any_io_executor executor_;
  CommandLine line_;
  std::optional<SharedCluster> cluster_;
  std::optional<Home> home_;
  SignalSource signals_;
  bool started_ = false;
  uint32_t number_ = 0;
  int wait_status_ = 1 << 8;
};

int run(int argc, char** argv) {
  po::options_description options = common_options();
  options.add_options()("node", po::value<std::string>()->value_name("NAME"), "where it starts (default: this host)")(
      "vip", po::value<std::string>()->value_name("A.B.C.D"), "its virtual address (default: any)")(
      "no-preload", "the program calls msocket itself (ms_socket and so on): leave its other calls alone");
  CommandLine line = parse_options(argc, argv, options, "msrun", kHelp, true);
  if (line.words.empty()) throw std::runtime_error("no program given (see msrun --help)");
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTTIN, SIG_IGN);
  wire::auth_init();
  asio::io_context loop(1);
  int status = 1 << 8;
  std::string why;
  {
    Msrun msrun(loop.get_executor(), std::move(line));
    spawn(
        loop.get_executor(),
        [&]() -> awaitable<void> {
          std::function<void(int)> give_up = [&](int signal_status) {
            status = signal_status;
            loop.stop();
          };
          status = co_await msrun.run(give_up);
          loop.stop();
        },
        [&](const std::string& error) {
          why = error;
          if (why.find("no such program") != std::string::npos) status = 127 << 8;
          loop.stop();
        });
    loop.run();
  }
  if (!why.empty()) std::fprintf(stderr, "msrun: %s\n", why.c_str());
  end_like(status);
}
}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "msrun: %s\n", error.what());
  }
  return 1;
}
