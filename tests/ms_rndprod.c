/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * The producer of the paper's section 8.2: sends the stream of bytes that random() gives for a seed, as fast as it goes.
 *
 *   ms_rndprod [-v] [-s STOP_FILE] IP PORT BUFFER_SIZE ITERATIONS SEED
 *
 * ITERATIONS is the number of buffers; 0: until STOP_FILE exists. -v prints a line for each buffer sent. The last line is
 * "ms_rndprod: OK bytes=..." or "ms_rndprod: FAILED ..." (exit status 1).
 */
#include "sockets.h"

static int usage(void) {
  fprintf(stderr, "usage: ms_rndprod [-v] [-s STOP_FILE] IP PORT BUFFER_SIZE ITERATIONS SEED\n");
  return 2;
}

int main(int argc, char** argv) {
  int verbose = 0, option;
  const char* stop_file = NULL;
  begin("ms_rndprod");
  while ((option = getopt(argc, argv, "+vs:")) != -1) {
    if (option == 'v') verbose = 1;
    else if (option == 's') stop_file = optarg;
    else return usage();
  }
  if (argc - optind != 5) return usage();
  char** args = argv + optind;
  const size_t size = (size_t)atol(args[2]);
  const long iterations = atol(args[3]);
  srandom((unsigned)atol(args[4]));
  unsigned char* buffer = malloc(size);
  if (size == 0 || !buffer) die("BUFFER_SIZE");
  if (iterations == 0 && !stop_file) return usage();

  int fd = connect_to(args[0], atoi(args[1]));
  printf("%s: connected\n", program);
  long bytes = 0, sent = 0;
  for (; iterations == 0 || sent < iterations; sent++) {
    if (stop_file && access(stop_file, F_OK) == 0) break;
    for (size_t i = 0; i < size; i++) buffer[i] = (unsigned char)(random() >> 8);
    write_full(fd, buffer, size);
    bytes += (long)size;
    if (verbose) printf("buffer %ld: %zu bytes sent\n", sent + 1, size);
  }
  if (ms_close(fd) < 0) die("close");
  free(buffer);
  printf("%s: OK bytes=%ld buffers=%ld\n", program, bytes, sent);
  return 0;
}
