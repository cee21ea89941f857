// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// msinit PID: process 1 of the pid namespace of a process that has moved here (namespaces.h). It takes in the orphans, and ends
// when that process and all that it has left behind have ended. Standard input is a socket to the one who starts both.
// msinit --trial PID SECONDS: is this process PID, and its monotonic clock not before SECONDS?
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc == 4 && strcmp(argv[1], "--trial") == 0) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return getpid() == atoi(argv[2]) && now.tv_sec >= atoll(argv[3]) ? 0 : 1;
  }
  if (argc != 2 || getpid() != 1) return 2;
  signal(SIGCHLD, SIG_IGN);  // nobody wants to know how an orphan ended
  char go = 0;
  if (read(0, &go, 1) != 1) return 0;
  close(0);
  int process = static_cast<int>(syscall(SYS_pidfd_open, atoi(argv[1]), 0));
  if (process >= 0) {
    pollfd end{process, POLLIN, 0};
    while (poll(&end, 1, -1) < 0 && errno == EINTR) {
    }
    close(process);
  }
  while (waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
  return 0;
}
