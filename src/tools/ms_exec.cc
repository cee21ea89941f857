// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// ms-exec PROGRAM [ARGUMENTS]: stands under Hydra's proxy for a rank that runs elsewhere. Started by mpiexec -migratable
// only. It hands its descriptors to mpiexec (src/tools/stub_wire.h), forwards the signals that it gets, and ends as the
// rank ends. It keeps its own copies of the descriptors open until then, so that Hydra sees their ends and the exit in
// the order that it knows from a rank of its own.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "src/tools/stub_wire.h"
#include "src/wire/msocket.pb.h"

extern char** environ;

namespace {
using namespace msocket;

constexpr int kForwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP, SIGCONT, SIGWINCH};

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "ms-exec: %s\n", why.c_str());
  std::exit(1);
}

int connect_home() {
  const char* path = std::getenv(kHomeVariable);
  if (!path) fail("is started by mpiexec -migratable, not by hand");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (std::strlen(path) >= sizeof address.sun_path) fail(std::string(path) + ": path too long");
  std::strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    fail(std::string("mpiexec is gone: ") + std::strerror(errno));
  return fd;
}

bool starts_with(const char* text, const char* prefix) { return std::strncmp(text, prefix, std::strlen(prefix)) == 0; }

// The rank's environment is ours without what concerns Hydra's own processes and this host.
bool hidden(const char* variable) {
  for (const char* name : {"PMI_PORT=", "PMI_FD=", "HYDI_CONTROL_FD=", "MSOCKET_HOME=", "MPIR_CVAR_CH3_INTERFACE_HOSTNAME="})
    if (starts_with(variable, name)) return true;
  return false;
}

proto::StartRank describe(int argc, char** argv, int pmi_fd) {
  proto::StartRank spec;
  for (int i = 1; i < argc; i++) spec.add_argv(argv[i]);
  for (char** variable = environ; *variable; variable++)
    if (!hidden(*variable)) spec.add_env(*variable);
  if (pmi_fd >= 0) spec.add_env("PMI_FD=3");  // where the daemon puts it
  char cwd[PATH_MAX];
  if (!getcwd(cwd, sizeof cwd)) fail(std::string("working directory: ") + std::strerror(errno));
  spec.set_cwd(cwd);
  mode_t mask = umask(0);
  umask(mask);
  spec.set_umask(mask);
  spec.set_pmi(pmi_fd >= 0);
  if (const char* host = std::getenv(kHostVariable)) spec.set_node(host);
  return spec;
}

bool send_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    ssize_t put = send(fd, data, size, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    data += put;
    size -= put;
  }
  return true;
}

bool receive_all(int fd, void* into, size_t size) {
  char* at = static_cast<char*>(into);
  while (size > 0) {
    ssize_t got = recv(fd, at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= got;
  }
  return true;
}

void send_start(int home, const proto::StartRank& spec, int pmi_fd) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) fail("cannot open /dev/null");
  std::string bytes = spec.SerializeAsString();
  uint32_t length = bytes.size();
  int fds[4] = {0, 1, 2, pmi_fd};
  size_t fds_size = (pmi_fd >= 0 ? 4 : 3) * sizeof(int);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  iovec part{&length, sizeof length};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(fds_size);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds_size);
  std::memcpy(CMSG_DATA(header), fds, fds_size);
  if (sendmsg(home, &message, MSG_NOSIGNAL) != sizeof length || !send_all(home, bytes.data(), bytes.size()))
    fail("mpiexec is gone");
}

[[noreturn]] void end_like(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    int signo = WTERMSIG(wait_status);
    rlimit no_core{0, 0};  // the rank's own core, if any, lies on its node
    setrlimit(RLIMIT_CORE, &no_core);
    signal(signo, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signo);
    sigprocmask(SIG_UNBLOCK, &set, nullptr);
    raise(signo);
    _exit(128 + signo);
  }
  _exit(WEXITSTATUS(wait_status));
}

[[noreturn]] void read_answer(int home) {
  StubAnswer answer;
  if (!receive_all(home, &answer, sizeof answer)) _exit(1);  // mpiexec is gone, and has said why if it could
  std::string text(answer.text_length, '\0');
  if (!text.empty() && receive_all(home, text.data(), text.size())) std::fprintf(stderr, "%s\n", text.c_str());
  end_like(answer.wait_status);
}
}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) fail("usage: ms-exec PROGRAM [ARGUMENTS] (started by mpiexec -migratable)");
  sigset_t set;
  sigemptyset(&set);
  for (int signo : kForwarded) sigaddset(&set, signo);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  int signals = signalfd(-1, &set, SFD_CLOEXEC);
  const char* pmi = std::getenv("PMI_FD");
  int pmi_fd = pmi ? std::atoi(pmi) : -1;
  int home = connect_home();
  send_start(home, describe(argc, argv, pmi_fd), pmi_fd);
  while (true) {
    pollfd ready[2] = {{home, POLLIN, 0}, {signals, POLLIN, 0}};
    if (poll(ready, 2, -1) < 0) continue;
    if (ready[0].revents) read_answer(home);
    signalfd_siginfo info;
    if (!ready[1].revents || read(signals, &info, sizeof info) != sizeof info) continue;
    int32_t signo = info.ssi_signo == SIGTSTP ? SIGSTOP : info.ssi_signo;
    send_all(home, reinterpret_cast<const char*>(&signo), sizeof signo);
  }
}
