// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/private_cluster.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "src/tools/signals.h"
#include "src/util/scoped_fd.h"

namespace msocket {

namespace {
constexpr int kMasterLimitMs = 10000;
constexpr Millis kReadyLimit(60000);  // ssh to a sleepy host takes its time
constexpr Millis kStopLimit(3000);

// Whatever the user's ssh_config says: no terminal (the daemon reads its lifeline to the end), no forwardings (every host
// would want the same ports), and no master for other sessions, which would stay when the job has ended. One that is
// there is used.
const std::vector<std::string> kSsh = {"ssh", "-x", "-T", "-o", "ControlMaster=no", "-o", "ClearAllForwardings=yes"};

std::optional<std::string> resolve(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0 || !found) return std::nullopt;
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_addr, text, sizeof text);
  freeaddrinfo(found);
  return text;
}

bool numeric(const std::string& host) {
  in_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1;
}

std::vector<std::string> own_addresses() {
  std::vector<std::string> found;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return found;
  for (ifaddrs* one = all; one; one = one->ifa_next) {
    if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(one->ifa_addr)->sin_addr, text, sizeof text);
    found.push_back(text);
  }
  freeifaddrs(all);
  return found;
}

bool loopback(const std::string& address) { return address.starts_with("127."); }

// Our address as `host` sees it. A name that only ssh knows: that of the default route, or the first of our own.
std::string address_towards(const std::optional<std::string>& host) {
  if (host) return outward_address(*host);
  try {
    return outward_address("192.0.2.1");
  } catch (const std::exception&) {
    for (const std::string& own : own_addresses())
      if (!loopback(own)) return own;
    throw;
  }
}

// user@host is ssh's; the address is the host's.
std::string without_user(const std::string& host) {
  auto at = host.find('@');
  return at == std::string::npos ? host : host.substr(at + 1);
}

std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::vector<std::string> words_of(const std::string& text) {
  std::stringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}
}  // namespace

std::string own_host_name() {
  char name[256] = "localhost";
  gethostname(name, sizeof name - 1);
  return name;
}

std::string ending(int status) {
  return WIFSIGNALED(status) ? "killed by signal " + std::to_string(WTERMSIG(status))
                             : "exit status " + std::to_string(WEXITSTATUS(status));
}

std::string last_line_of(const std::string& path) {
  std::ifstream log(path);
  std::string line, last = "it says nothing";
  while (std::getline(log, line)) {
    while (!line.empty() && isspace(static_cast<unsigned char>(line.back()))) line.pop_back();  // ssh ends its lines with \r\n
    if (!line.empty()) last = line;
  }
  return last;
}

bool is_local_host(const std::string& host) {
  if (host == "localhost" || host == own_host_name() || loopback(host)) return true;
  auto address = numeric(host) ? std::optional(host) : resolve(without_user(host));
  if (!address) return false;
  std::vector<std::string> own = own_addresses();
  return loopback(*address) || std::find(own.begin(), own.end(), *address) != own.end();
}

PrivateCluster::PrivateCluster(const Session& session, const Options& options) : session_(session) {
  if (!options.launcher.empty() && options.launcher != "ssh" && options.launcher != "rsh" && options.launcher != "fork")
    throw std::runtime_error("-launcher " + options.launcher + ": daemons are started by ssh, rsh or fork only");
  for (const std::string& host : options.hosts)
    if (std::find(hosts_.begin(), hosts_.end(), host) == hosts_.end()) hosts_.push_back(host);
  if (hosts_.empty()) hosts_.push_back(own_host_name());

  std::vector<bool> local;
  std::string outside;  // our address as remote hosts see it; empty: there are none
  for (const std::string& host : hosts_) {
    local.push_back(options.launcher == "fork" || is_local_host(host));
    if (local.back() || !outside.empty()) continue;
    outside = address_towards(resolve(without_user(host)));
  }
  std::string here = outside.empty() ? "127.0.0.1" : outside;

  std::vector<std::string> remote = words_of(options.launcher_exec);
  const char* ssh = std::getenv("MSOCKET_SSH");
  if (remote.empty() && ssh) remote = words_of(ssh);
  if (remote.empty())
    remote = options.launcher == "rsh" ? std::vector<std::string>{"rsh"} : kSsh;

  config_.key = wire::random_key();
  try {
    start_master(here);
    save_config(config_, session.path("config.json"));
    const std::string daemon = program_folder() + "/msdaemon";
    for (size_t i = 0; i < hosts_.size(); i++) {
      Config config = config_;
      config.node.name = hosts_[i];
      config.node.port = 0;
      std::vector<std::string> command;
      if (local[i]) {
        bool own = numeric(hosts_[i]) && options.launcher != "fork";
        if (own && !outside.empty() && loopback(hosts_[i]))
          throw std::runtime_error("host " + hosts_[i] + " cannot be reached from the other hosts");
        config.node.address = own ? hosts_[i] : here;
        command = {daemon, "--config", "-", "--lifeline-fd", "0"};
      } else {
        config.node.address = resolve(without_user(hosts_[i])).value_or("");
        command = remote;
        command.push_back(hosts_[i]);
        command.push_back("exec " + shell_quoted(daemon) + " --config - --lifeline-fd 0");
      }
      children_.push_back(launch(hosts_[i], command, config, -1));
    }
  } catch (...) {
    stop();
    throw;
  }
}

PrivateCluster::~PrivateCluster() { stop(); }

void PrivateCluster::start_master(const std::string& address) {
  MasterConfig master;
  master.address = address;
  master.port = 0;
  config_.masters = {master};
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
  std::vector<std::string> command = {program_folder() + "/msmaster", "--config", "-", "--lifeline-fd", "0"};
  Child child = launch("msmaster", command, config_, out[1]);
  close(out[1]);
  children_.push_back(child);
  std::string line;
  pollfd ready{out[0], POLLIN, 0};
  char c = 0;
  while (line.size() < 200 && poll(&ready, 1, kMasterLimitMs) > 0 && read(out[0], &c, 1) == 1 && c != '\n') line += c;
  close(out[0]);
  auto colon = line.rfind(':');
  int port = line.rfind("listening on ", 0) == 0 && colon != std::string::npos ? std::atoi(&line[colon + 1]) : 0;
  if (port <= 0 || port > 65535)
    throw std::runtime_error("msmaster does not start: " + last_line_of(child.log));
  config_.masters.front().port = port;
}

PrivateCluster::Child PrivateCluster::launch(const std::string& name, const std::vector<std::string>& command,
                                             const Config& config, int out) {
  Child child;
  child.name = name;
  child.log = session_.path((name.find('/') == std::string::npos ? name : "node") + ".log");
  ScopedFd log(open(child.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  int ends[2];
  if (!log || pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(child.log + ": " + std::strerror(errno));
  ScopedFd in(ends[0]), lifeline(ends[1]);
  // Before there is a child: one that ends at once, as ssh without its host, has its own say about it. Far below a pipe's
  // 64 KiB, so that this does not wait for a reader.
  std::string line = config_to_json(config) + "\n\n";
  if (write(lifeline.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    throw std::runtime_error(name + ": " + std::strerror(errno));
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  child.pid = fork();
  if (child.pid < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  if (child.pid == 0) {
    setsid();  // Ctrl-C is for mpiexec alone
    prepare_child();
    unsetenv("MSOCKET_HOME");
    dup2(in.get(), 0);
    dup2(out >= 0 ? out : log.get(), 1);
    dup2(log.get(), 2);
    execvp(argv[0], argv.data());
    dprintf(2, "%s: %s\n", argv[0], std::strerror(errno));
    _exit(127);
  }
  child.lifeline = lifeline.release();
  return child;
}

awaitable<void> PrivateCluster::wait_ready(asio::any_io_executor executor) {
  Cluster cluster(executor, config_);
  auto deadline = Clock::now() + kReadyLimit;
  std::string missing;
  while (Clock::now() < deadline) {
    std::vector<proto::NodeInfo> nodes;
    try {
      nodes = co_await cluster.nodes();
    } catch (const std::exception&) {
    }
    missing.clear();
    for (const std::string& host : hosts_) {
      const proto::NodeInfo* node = find_node(nodes, host);
      if (!node || !node->alive()) missing += (missing.empty() ? "" : " ") + host;
    }
    if (missing.empty()) co_return;
    for (Child& child : children_) {
      int status = 0;
      if (child.pid <= 0 || waitpid(child.pid, &status, WNOHANG) != child.pid) continue;
      child.pid = -1;
      throw std::runtime_error("the daemon on " + child.name + " does not start (" + ending(status) +
                               "): " + last_line_of(child.log));
    }
    co_await sleep_for(Millis(20));
  }
  std::string first = missing.substr(0, missing.find(' ')), why;
  for (const Child& child : children_)
    if (child.name == first) why = " (" + first + ": " + last_line_of(child.log) + ")";
  throw std::runtime_error("no daemon within a minute on: " + missing + why);
}

void PrivateCluster::stop() {
  for (Child& child : children_) {
    if (child.lifeline >= 0) close(child.lifeline);
    child.lifeline = -1;
  }
  auto deadline = Clock::now() + kStopLimit;
  for (Child& child : children_) {
    while (child.pid > 0 && waitpid(child.pid, nullptr, WNOHANG) == 0) {
      if (Clock::now() >= deadline) kill(child.pid, SIGKILL);
      std::this_thread::sleep_for(Millis(5));
    }
    child.pid = -1;
  }
}

}  // namespace msocket
