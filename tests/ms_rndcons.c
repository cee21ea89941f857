/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * The consumer of the paper's section 8.2: accepts one connection and compares every byte with the stream that random()
 * gives for the seed. One byte lost, repeated or changed and all that follows is wrong.
 *
 *   ms_rndcons [-v] PORT BUFFER_SIZE SEED
 *
 * -v prints the result of each buffer. The size of the buffer need not be the producer's. The last line is
 * "ms_rndcons: OK bytes=..." or "ms_rndcons: FAILED ..." (exit status 1).
 */
#include "sockets.h"

int main(int argc, char** argv) {
  int verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
  begin("ms_rndcons");
  if (argc - verbose != 4) {
    fprintf(stderr, "usage: ms_rndcons [-v] PORT BUFFER_SIZE SEED\n");
    return 2;
  }
  char** args = argv + 1 + verbose;
  const int port = atoi(args[0]);
  const size_t size = (size_t)atol(args[1]);
  srandom((unsigned)atol(args[2]));
  unsigned char* buffer = malloc(size);
  if (size == 0 || !buffer) die("BUFFER_SIZE");

  int fd = accept_one(port);
  printf("%s: connected\n", program);
  long bytes = 0, buffers = 0, bad = 0, first_bad = -1;
  for (size_t got = size; got == size; bytes += (long)got) {
    got = read_full(fd, buffer, size);
    size_t i = 0, wrong = got;
    for (; i < got; i++)
      if (buffer[i] != (unsigned char)(random() >> 8) && wrong == got) wrong = i;
    if (got > 0) buffers++;
    if (wrong == got) {
      if (verbose && got > 0) printf("buffer %ld: %zu bytes, right\n", buffers, got);
      continue;
    }
    if (bad++ == 0) first_bad = bytes + (long)wrong;
    if (verbose || bad == 1) printf("buffer %ld: %zu bytes, wrong from byte %zu\n", buffers, got, wrong);
  }
  ms_close(fd);
  free(buffer);
  if (bad > 0) {
    printf("%s: FAILED bytes=%ld: %ld of %ld buffers wrong, first at byte %ld\n", program, bytes, bad, buffers, first_bad);
    return 1;
  }
  printf("%s: OK bytes=%ld buffers=%ld\n", program, bytes, buffers);
  return 0;
}
