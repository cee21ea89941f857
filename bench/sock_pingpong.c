/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Round trips between two processes over a socket with TCP_NODELAY: the paper's section 8.4.2. Compiled twice, with
 * libmsocket and with plain sockets. Prints a line for each message size: "pingpong BYTES MICROSECONDS".
 *
 *   sock_pingpong serve PORT
 *   sock_pingpong ping IP PORT [ROUND_TRIPS [BYTES...]]    default: 4000 (fewer for large messages), 1 to 1 MiB
 */
#include <time.h>

#include "sockets.h"

static const long kSizes[] = {1, 64, 1024, 8192, 65536, 1048576};
static const long kMostBytes = 64L << 20; /* of one size */
static const long kLargest = 1L << 30;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What the pinger announces before each size; all zero: the end. */
struct order {
  long size, count;
};

static int serve(int port) {
  int fd = accept_one(port);
  no_delay(fd);
  struct order order;
  while (read_full(fd, (unsigned char*)&order, sizeof order) == sizeof order && order.size > 0 && order.size <= kLargest) {
    unsigned char* buffer = malloc((size_t)order.size);
    for (long i = 0; i < order.count; i++) {
      if (read_full(fd, buffer, (size_t)order.size) < (size_t)order.size) die("end of stream");
      write_full(fd, buffer, (size_t)order.size);
    }
    free(buffer);
  }
  ms_close(fd);
  return 0;
}

static void exchange(int fd, unsigned char* buffer, long size, long count) {
  for (long i = 0; i < count; i++) {
    write_full(fd, buffer, (size_t)size);
    if (read_full(fd, buffer, (size_t)size) < (size_t)size) die("end of stream");
  }
}

static void measure(int fd, long size, long count) {
  if (count * size > kMostBytes) count = kMostBytes / size;
  if (count < 10) count = 10;
  long warm_up = count / 10 + 1;
  struct order order = {size, count + warm_up};
  unsigned char* buffer = calloc(1, (size_t)size);
  write_full(fd, (unsigned char*)&order, sizeof order);
  exchange(fd, buffer, size, warm_up);
  double start = now();
  exchange(fd, buffer, size, count);
  printf("pingpong %ld %.3f\n", size, 1e6 * (now() - start) / (double)count);
  free(buffer);
}

int main(int argc, char** argv) {
  begin("sock_pingpong");
  if (argc == 3 && strcmp(argv[1], "serve") == 0) return serve(atoi(argv[2]));
  if (argc < 4 || strcmp(argv[1], "ping") != 0) {
    fprintf(stderr, "usage: sock_pingpong serve PORT | sock_pingpong ping IP PORT [ROUND_TRIPS [BYTES...]]\n");
    return 2;
  }
  int fd = connect_to(argv[2], atoi(argv[3]));
  no_delay(fd);
  long count = argc > 4 ? atol(argv[4]) : 4000;
  if (argc > 5) {
    for (int i = 5; i < argc; i++) measure(fd, atol(argv[i]), count);
  } else {
    for (size_t i = 0; i < sizeof kSizes / sizeof *kSizes; i++) measure(fd, kSizes[i], count);
  }
  struct order end = {0, 0};
  write_full(fd, (unsigned char*)&end, sizeof end);
  ms_close(fd);
  return 0;
}
