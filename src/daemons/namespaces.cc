// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>

#include "src/daemons/spawner.h"

namespace msocket::daemons {

namespace {

constexpr int64_t kSecond = 1'000'000'000;

void write_file(int report, const char* path, const char* text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) fail(report, path);
  close(fd);
}

// The one who maps may map nobody but himself: whoever else is seen as nobody.
void enter_user_namespace(int report) {
  uid_t uid = geteuid();
  gid_t gid = getegid();
  if (unshare(CLONE_NEWUSER) != 0) fail(report, "user namespace");
  char line[64];
  write_file(report, "/proc/self/setgroups", "deny");
  snprintf(line, sizeof line, "%u %u 1", uid, uid);
  write_file(report, "/proc/self/uid_map", line);
  snprintf(line, sizeof line, "%u %u 1", gid, gid);
  write_file(report, "/proc/self/gid_map", line);
}

// Offsets count from the machine's own clocks, and the daemon may live in a time namespace itself.
void set_clocks(int report, const Identity& identity) {
  constexpr char kFile[] = "/proc/self/timens_offsets";
  char text[256] = {};
  int fd = open(kFile, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, text, sizeof text - 1) < 0) fail(report, kFile);
  close(fd);
  long long seconds[2] = {}, rest[2] = {};
  if (sscanf(text, "monotonic %lld %lld boottime %lld %lld", &seconds[0], &rest[0], &seconds[1], &rest[1]) != 4) {
    errno = EINVAL;
    fail(report, kFile);
  }
  int64_t more[2] = {identity.monotonic_ns, identity.boottime_ns};
  for (int i = 0; i < 2; ++i) {
    int64_t all = seconds[i] * kSecond + rest[i] + more[i];
    seconds[i] = all / kSecond - (all % kSecond < 0);
    rest[i] = all - seconds[i] * kSecond;
  }
  snprintf(text, sizeof text, "monotonic %lld %lld\nboottime %lld %lld\n", seconds[0], rest[0], seconds[1], rest[1]);
  write_file(report, kFile, text);
}

// As fork(), but the new process is the daemon's child, too; `pid`: its id in its namespace.
pid_t clone_beside(pid_t pid) {
  uint64_t wanted = static_cast<uint64_t>(pid);
  clone_args arguments{};
  arguments.flags = CLONE_PARENT;
  pid_t id = pid;
  if (wanted) {
    arguments.set_tid = reinterpret_cast<uint64_t>(&id);
    arguments.set_tid_size = 1;
  }
  return static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
}

[[noreturn]] void become_init(const char* program, pid_t pid, int socket, int report) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setpgid(0, 0);
  signal(SIGCHLD, SIG_IGN);
  if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) fail(report, "its own /proc");
  char number[16], name[] = "msinit";
  snprintf(number, sizeof number, "%d", pid);
  char* argv[] = {name, number, nullptr};
  char* env[] = {nullptr};
  // The process may begin; that it has begun is heard by msinit proper.
  char ready = 0;
  if (write(socket, &ready, 1) != 1 || dup2(socket, 0) < 0 || chdir("/") != 0) fail(report, "msinit");
  // All but the socket goes with exec; what is not marked so must not stay open in here.
  if (report > 1) syscall(SYS_close_range, 1, report - 1, 0);
  syscall(SYS_close_range, report + 1, ~0u, 0);
  execve(program, argv, env);
  fail(report, program);
}

// The process has to give its threads their ids (src/checkpoint/threads.cc). It lets go of this when that is done.
void keep_capability() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return;
  data[CAP_TO_INDEX(CAP_CHECKPOINT_RESTORE)].inheritable |= CAP_TO_MASK(CAP_CHECKPOINT_RESTORE);
  if (syscall(SYS_capset, &header, data) == 0) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHECKPOINT_RESTORE, 0, 0);
}

}  // namespace

int64_t clock_ns(int clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

void go_on_in_namespaces(NamespaceKind kind, const Identity& identity, const char* init, int report) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (kind == NamespaceKind::kUser) enter_user_namespace(report);
  if (unshare(CLONE_NEWNS | CLONE_NEWPID) != 0) fail(report, "pid namespace");
  if (unshare(CLONE_NEWTIME) != 0) fail(report, "time namespace");
  // What is mounted on the host later comes here, too, and nothing of ours goes there.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) fail(report, "mount namespace");
  set_clocks(report, identity);
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) fail(report, "descriptors");
  SpawnReport done;
  done.init = clone_beside(0);
  if (done.init < 0) fail(report, "msinit");
  if (done.init == 0) become_init(init, identity.pid, pair[1], report);
  close(pair[1]);
  (void)!write(report, &done, sizeof done);
  char ready;
  if (read(pair[0], &ready, 1) != 1) {
    errno = ECHILD;
    fail(report, "msinit does not start");
  }
  done.pid = clone_beside(identity.pid);
  if (done.pid < 0) fail(report, "its process id");
  if (done.pid == 0) {
    close(pair[0]);
    if (geteuid() != 0) keep_capability();
    return;
  }
  (void)!write(report, &done, sizeof done);
  (void)!write(pair[0], &ready, 1);
  _exit(0);
}

bool can_have_pid(pid_t pid) {
  int most = 0;
  std::ifstream("/proc/sys/kernel/pid_max") >> most;
  return pid > 1 && pid < most;  // 1 is msinit's
}

const NamespacesHere& namespaces_here() {
  static const NamespacesHere here = [] {
    NamespacesHere found;
    const char* wanted = getenv("MSOCKET_NAMESPACES");
    if (wanted && strcmp(wanted, "no") == 0) {
      found.why_not = "MSOCKET_NAMESPACES=no";
      return found;
    }
    for (NamespaceKind kind : {NamespaceKind::kPlain, NamespaceKind::kUser}) {
      if (kind == NamespaceKind::kPlain && geteuid() != 0) continue;
      // A process under a number that nobody gets by chance, with a clock of its own: it says whether it has them.
      constexpr pid_t kTrial = 4711;
      SpawnSpec spec;
      spec.program = own_folder() + "/msinit";
      spec.argv = {"msinit", "--trial", std::to_string(kTrial)};
      spec.cwd = "/";
      spec.namespaces = kind;
      spec.identity = {kTrial, 1000 * kSecond, 1000 * kSecond};
      spec.argv.push_back(std::to_string((clock_ns(CLOCK_MONOTONIC) + spec.identity.monotonic_ns) / kSecond));
      try {
        Spawned spawned = spawn_process(spec);
        int status = 0;
        waitpid(spawned.pid, &status, 0);
        waitpid(spawned.init, nullptr, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
          found.kind = kind;
          found.why_not.clear();
          return found;
        }
        found.why_not = "a trial process did not get its id and its clock";
      } catch (const std::exception& error) {
        found.why_not = error.what();
      }
    }
    return found;
  }();
  return here;
}

}  // namespace msocket::daemons
