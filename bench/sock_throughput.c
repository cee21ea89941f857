/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * The paper's section 8.4.1: a producer writes in buffers of 1 byte to 8 KiB, the consumer reads in 10 KB; what the producer
 * achieves is measured, so it is the cost of writing. Compiled twice, with libmsocket and with plain sockets. Prints a
 * line for each size: "throughput BYTES MB_PER_SECOND CPU_SECONDS_PER_MB".
 *
 *   sock_throughput consume PORT
 *   sock_throughput produce IP PORT [WRITES [BYTES...]]     default: 100000 writes of each size
 */
#include <sys/resource.h>
#include <time.h>

#include "sockets.h"

static const long kSizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192};
enum { kConsumerBuffer = 10000 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double cpu_time(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* Each point: its number of bytes (0: the end), then the bytes; the consumer answers with one byte. */
static int consume(int port) {
  int fd = accept_one(port);
  unsigned char buffer[kConsumerBuffer], done = 1;
  long total;
  while (read_full(fd, (unsigned char*)&total, sizeof total) == sizeof total && total > 0) {
    while (total > 0) {
      ssize_t got = ms_read(fd, buffer, total < kConsumerBuffer ? (size_t)total : kConsumerBuffer);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) die("read");
      total -= got;
    }
    write_full(fd, &done, 1);
  }
  ms_close(fd);
  return 0;
}

static void measure(int fd, long size, long writes) {
  unsigned char* buffer = calloc(1, (size_t)size);
  unsigned char done;
  long total = size * writes;
  write_full(fd, (unsigned char*)&total, sizeof total);
  double start = now(), cpu = cpu_time();
  for (long i = 0; i < writes; i++) write_full(fd, buffer, (size_t)size);
  if (read_full(fd, &done, 1) != 1) die("end of stream");
  double seconds = now() - start, mb = 1e-6 * (double)total;
  printf("throughput %ld %.4f %.6f\n", size, mb / seconds, (cpu_time() - cpu) / mb);
  free(buffer);
}

int main(int argc, char** argv) {
  begin("sock_throughput");
  if (argc == 3 && strcmp(argv[1], "consume") == 0) return consume(atoi(argv[2]));
  if (argc < 4 || strcmp(argv[1], "produce") != 0) {
    fprintf(stderr, "usage: sock_throughput consume PORT | sock_throughput produce IP PORT [WRITES [BYTES...]]\n");
    return 2;
  }
  int fd = connect_to(argv[2], atoi(argv[3]));
  long writes = argc > 4 ? atol(argv[4]) : 100000;
  if (argc > 5) {
    for (int i = 5; i < argc; i++) measure(fd, atol(argv[i]), writes);
  } else {
    for (size_t i = 0; i < sizeof kSizes / sizeof *kSizes; i++) measure(fd, kSizes[i], writes);
  }
  long end = 0;
  write_full(fd, (unsigned char*)&end, sizeof end);
  ms_close(fd);
  return 0;
}
