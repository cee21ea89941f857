// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// mpiexec: Hydra's, and with -migratable a front end over it. Hydra runs with the fork launcher: all its proxies stay on
// this node, each with a stub `ms-exec` for every rank; the stubs come to our StubServer, and the Home starts the ranks on
// the daemons of the nodes that Hydra chose for them. So Hydra's options, its PMI server and its exit status are as ever.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>

#include "src/tools/home.h"
#include "src/tools/hydra_args.h"
#include "src/tools/private_cluster.h"
#include "src/tools/session.h"
#include "src/tools/signals.h"
#include "src/tools/stub_server.h"
#include "src/tools/stub_wire.h"

namespace {
using namespace msocket;

constexpr const char* kHelp =
    "usage: mpiexec -migratable [-config FILE] [Hydra's options] PROGRAM [ARGUMENTS] [: ...]\n"
    "\n"
    "Runs an MPI program whose ranks can move to other nodes while it runs (msctl ps, msctl migrate, msctl drain).\n"
    "Everything that Hydra's mpiexec takes still works; host names are the names of nodes.\n"
    "\n"
    "  -config FILE      the cluster's configuration (default: $MSOCKET_CONFIG; without one, daemons are started\n"
    "                    for this job alone on the hosts named by -hosts or -f, else on this one)\n"
    "  -launcher NAME    how these daemons are started on other hosts: ssh (default), rsh; fork: all of them here\n"
    "  -launcher-exec P  the command instead of ssh, with its options (default: $MSOCKET_SSH)\n"
    "\n"
    "MSOCKET_TIMELINE=FILE  every move is appended to FILE as one JSON object per line\n"
    "\n"
    "Without -migratable this is Hydra's mpiexec: see mpiexec -help.\n";

// A rank that was killed needs this long at most to be gone from its node.
constexpr Millis kEndLimit(5000);

[[noreturn]] void exec_hydra(const std::string& program, std::vector<std::string> args) {
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  std::fprintf(stderr, "mpiexec: %s: %s\n", program.c_str(), std::strerror(errno));
  _exit(1);
}

std::string read_whole(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": " + std::strerror(errno));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

class Mpiexec {
 public:
  Mpiexec(asio::any_io_executor executor, HydraArgs args, std::string stub)
      : executor_(executor),
        args_(std::move(args)),
        stub_(std::move(stub)),
        changed_(executor),
        signals_(executor, {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD}) {}

  /// Returns the exit status; throws one line for the user. `give_up` is called with one when a signal comes while
  /// there is no Hydra yet to get it.
  awaitable<int> run(std::function<void(int)> give_up) {
    give_up_ = std::move(give_up);
    spawn(executor_, [this]() -> awaitable<void> { co_await watch_signals(); });
    prepare_config_file();
    named_hosts();
    std::optional<std::string> path = find_config(args_.config, false);
    Config config;
    if (path) {
      config = load_config(*path);
    } else {
      PrivateCluster::Options options{args_.hosts, args_.launcher, args_.launcher_exec};
      cluster_.emplace(session_, options);
      co_await cluster_->wait_ready(executor_);
      config = cluster_->config();
    }
    home_.emplace(executor_, config);
    std::vector<proto::NodeInfo> nodes = co_await home_->cluster().nodes();
    check_hosts(nodes);
    co_await home_->open_job();
    StubServer server(*home_, executor_, session_.path("home"), stub_);
    start_hydra(nodes);
    co_await wait_until(changed_, Millis(1000LL * 3600 * 24 * 365), [this] { return hydra_ended_; });
    bool gone = co_await home_->wait_all(kEndLimit);
    if (!gone) {
      home_->give_up_lost();  // its peers have given up before it was said, and Hydra with them
      home_->kill_all();
      co_await home_->wait_all(kEndLimit);
    }
    if (hydra_status_ != 0) home_->say_lost_nodes();
    if (WIFSIGNALED(hydra_status_)) co_return 128 + WTERMSIG(hydra_status_);
    co_return WEXITSTATUS(hydra_status_);
  }

 private:
  void prepare_config_file() {
    if (args_.config_file.empty()) return;
    std::string copy = session_.path("configfile");
    std::ofstream(copy) << rewrite_config_file(read_whole(args_.config_file), stub_, args_);
    args_.hydra[args_.config_file_at] = copy;
  }

  // Hydra reads HYDRA_HOST_FILE itself when no hosts are on its command line.
  void named_hosts() {
    const char* file = std::getenv("HYDRA_HOST_FILE");
    if (!args_.hosts.empty() || !file) return;
    args_.hosts = parse_host_file(read_whole(file));
  }

  void check_hosts(const std::vector<proto::NodeInfo>& nodes) const {
    for (const std::string& host : args_.hosts) {
      const proto::NodeInfo* node = find_node(nodes, host);
      if (!node || !node->alive())
        throw std::runtime_error("no node '" + host + "' (nodes: " + node_names(nodes, true) + ")");
    }
    if (node_names(nodes, true) == "none") throw std::runtime_error("no node is alive");
  }

  void start_hydra(const std::vector<proto::NodeInfo>& nodes) {
    // The proxies are children of this machine whatever their hosts' names are: they find mpiexec by loopback.
    std::vector<std::string> args = {"-launcher", "fork"};
    if (!args_.has_localhost) args.insert(args.end(), {"-localhost", "127.0.0.1"});
    if (args_.hosts.empty()) {
      std::string all = node_names(nodes, true);
      std::replace(all.begin(), all.end(), ' ', ',');
      args.insert(args.end(), {"-hosts", all});
    }
    args.insert(args.end(), args_.hydra.begin(), args_.hydra.end());
    std::string program = program_folder() + "/mpiexec.hydra";
    hydra_ = fork();
    if (hydra_ < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
    if (hydra_ > 0) return;
    prepare_child();
    int null = open("/dev/null", O_RDONLY);  // rank 0 reads our standard input without Hydra
    if (null > 0) dup2(null, STDIN_FILENO), close(null);
    setenv(kHomeVariable, session_.path("home").c_str(), 1);
    for (const char* name : {"HYDRA_LAUNCHER_AUTOFORK", "HYDRA_LAUNCHER", "HYDRA_BOOTSTRAP", "PMI_FD", "PMI_PORT",
                             "PMI_RANK", "PMI_SIZE", "PMI_ID", "PMI_SPAWNED", "HYDI_CONTROL_FD"})
      unsetenv(name);
    exec_hydra(program, std::move(args));
  }

  awaitable<void> watch_signals() {
    int interrupts = 0;
    while (!hydra_ended_) {
      signalfd_siginfo info = co_await signals_.next();
      int signo = info.ssi_signo;
      if (signo == SIGCHLD) {
        if (hydra_ > 0 && waitpid(hydra_, &hydra_status_, WNOHANG) == hydra_) {
          hydra_ended_ = true;
          changed_.notify();
        }
        continue;
      }
      if (hydra_ < 0) {
        if (signo != SIGUSR1 && signo != SIGUSR2) give_up_(128 + signo);
        continue;
      }
      // Hydra is in our process group: what the terminal sends it has already.
      if (!SignalSource::from_terminal(info)) kill(hydra_, signo);
      if (signo == SIGINT && ++interrupts >= 3) {  // Hydra itself kills at the second; this is for a Hydra that hangs
        home_->kill_all();
        kill(hydra_, SIGKILL);
      }
    }
  }

  asio::any_io_executor executor_;
  HydraArgs args_;
  std::string stub_;
  Session session_;
  std::optional<PrivateCluster> cluster_;
  std::optional<Home> home_;
  Event changed_;
  SignalSource signals_;
  std::function<void(int)> give_up_;
  pid_t hydra_ = -1;
  int hydra_status_ = 0;
  bool hydra_ended_ = false;
};

int run_migratable(const std::vector<std::string>& words) {
  std::string stub = program_folder() + "/ms-exec";
  HydraArgs args = parse_hydra_args(words, stub);
  if (args.help) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (!args.has_program && args.config_file.empty()) exec_hydra(program_folder() + "/mpiexec.hydra", args.hydra);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTTIN, SIG_IGN);  // in the background, rank 0's input waits (src/tools/fd_io.h)
  wire::auth_init();
  asio::io_context loop(1);
  int status = 1;
  std::string why;
  {
    Mpiexec mpiexec(loop.get_executor(), std::move(args), stub);
    spawn(
        loop.get_executor(),
        [&]() -> awaitable<void> {
          std::function<void(int)> give_up = [&](int signal_status) {
            status = signal_status;
            loop.stop();
          };
          status = co_await mpiexec.run(give_up);
          loop.stop();
        },
        [&](const std::string& error) {
          why = error;
          loop.stop();
        });
    loop.run();
  }
  if (!why.empty()) std::fprintf(stderr, "mpiexec: %s\n", why.c_str());
  return status;
}
}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (wants_migratable(words)) return run_migratable(words);
    exec_hydra(program_folder() + "/mpiexec.hydra", words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mpiexec: %s\n", error.what());
  }
  return 1;
}
