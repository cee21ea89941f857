/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * The consumer of the paper's section 8.1: accepts one connection and copies what it reads to its standard output.
 *
 *   ms_tcpcons PORT
 */
#include "sockets.h"

int main(int argc, char** argv) {
  static unsigned char buffer[65536];
  program = "ms_tcpcons";
  signal(SIGPIPE, SIG_IGN);
  if (argc != 2) {
    fprintf(stderr, "usage: ms_tcpcons PORT\n");
    return 2;
  }
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
  int listener = ms_socket(AF_INET, SOCK_STREAM, 0), fd;
  if (listener < 0 || ms_bind(listener, (struct sockaddr*)&at, sizeof at) < 0 || ms_listen(listener, 5) < 0) {
    perror("ms_tcpcons");
    return 1;
  }
  fprintf(stderr, "ms_tcpcons: listening on port %s\n", argv[1]);
  do fd = ms_accept(listener, NULL, NULL);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    perror("ms_tcpcons: accept");
    return 1;
  }
  for (;;) {
    ssize_t got = ms_read(fd, buffer, sizeof buffer);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      perror("ms_tcpcons: read");
      return 1;
    }
    for (ssize_t done = 0; done < got;) {
      ssize_t n = write(1, buffer + done, (size_t)(got - done));
      if (n < 0 && errno != EINTR) {
        perror("ms_tcpcons: write");
        return 1;
      }
      if (n > 0) done += n;
    }
  }
  ms_close(fd);
  ms_close(listener);
  return 0;
}
