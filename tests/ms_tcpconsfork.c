/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * The second consumer of the paper's section 8.1: forks after each accept. The child closes the listening socket, writes to
 * standard output all that it reads, and ends; the parent closes the new socket and accepts the next, until a signal ends it.
 * What they have to say of themselves goes to standard error, for each connection "ms_tcpconsfork: OK bytes=...".
 *
 *   ms_tcpconsfork PORT
 */
#include "sockets.h"

static int serve(int listener, int fd) {
  ms_close(listener);
  long bytes = copy_to_output(fd);
  ms_close(fd);
  fprintf(stderr, "%s: OK bytes=%ld\n", program, bytes);
  return 0;
}

int main(int argc, char** argv) {
  begin("ms_tcpconsfork");
  report = stderr;
  if (argc != 2) {
    fprintf(stderr, "usage: ms_tcpconsfork PORT\n");
    return 2;
  }
  signal(SIGCHLD, SIG_IGN); /* nobody waits for the children */
  int listener = listen_on(atoi(argv[1]));
  for (;;) {
    int fd = accept_next(listener);
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) return serve(listener, fd);
    ms_close(fd);
  }
}
