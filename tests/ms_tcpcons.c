/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * The first consumer of the paper's section 8.1: accepts one connection, closes the listening socket, and writes to standard
 * output all that it reads, and nothing else. What it has to say of itself goes to standard error; the last line there is
 * "ms_tcpcons: OK bytes=..." or "ms_tcpcons: FAILED ..." (exit status 1).
 *
 *   ms_tcpcons PORT
 */
#include "sockets.h"

int main(int argc, char** argv) {
  begin("ms_tcpcons");
  report = stderr;
  if (argc != 2) {
    fprintf(stderr, "usage: ms_tcpcons PORT\n");
    return 2;
  }
  int fd = accept_one(atoi(argv[1]));
  fprintf(stderr, "%s: connected\n", program);
  long bytes = copy_to_output(fd);
  ms_close(fd);
  fprintf(stderr, "%s: OK bytes=%ld\n", program, bytes);
  return 0;
}
