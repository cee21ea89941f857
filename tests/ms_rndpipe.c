/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * The pipe of the paper's section 8.3: accepts one connection, opens another, and sends to that one what it reads from the
 * first, unchanged, until its end.
 *
 *   ms_rndpipe [-v] IP PORT LISTEN_PORT BUFFER_SIZE
 *
 * -v prints a line for each block read and written. The last line is "ms_rndpipe: OK read=... written=..." or
 * "ms_rndpipe: FAILED ..." (exit status 1).
 */
#include "sockets.h"

int main(int argc, char** argv) {
  int verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
  begin("ms_rndpipe");
  if (argc - verbose != 5) {
    fprintf(stderr, "usage: ms_rndpipe [-v] IP PORT LISTEN_PORT BUFFER_SIZE\n");
    return 2;
  }
  char** args = argv + 1 + verbose;
  const size_t size = (size_t)atol(args[3]);
  unsigned char* buffer = malloc(size);
  if (size == 0 || !buffer) die("BUFFER_SIZE");

  int out = connect_to(args[0], atoi(args[1]));
  int in = accept_one(atoi(args[2]));
  printf("%s: connected\n", program);
  long was_read = 0, written = 0;
  for (;;) {
    ssize_t got = ms_read(in, buffer, size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) die("read");
    if (got == 0) break;
    was_read += got;
    if (verbose) printf("%zd bytes read\n", got);
    write_full(out, buffer, (size_t)got);
    written += got;
    if (verbose) printf("%zd bytes written\n", got);
  }
  ms_close(in);
  if (ms_close(out) < 0) die("close");
  free(buffer);
  printf("%s: OK read=%ld written=%ld\n", program, was_read, written);
  return 0;
}
