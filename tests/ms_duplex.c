/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * One end of a connection that is used both ways at once: what it writes is a known stream, what it reads must be the
 * other's. One byte lost, repeated or changed is found.
 *
 *   ms_duplex MODE STOP_FILE SEED PORT             accepts one connection; its seed is SEED, the other's SEED + 1
 *   ms_duplex MODE STOP_FILE SEED PORT ADDRESS     connects; the other way round
 *
 * MODE: busy    both write and read until STOP_FILE is there
 *       full    both write, and read nothing before STOP_FILE is there: all buffers are full
 *       idle    nobody writes before STOP_FILE is there
 *       half    who connects ends its writing at once; the other is busy
 *       halfback  who accepts does
 * With STOP_FILE there, each writes a last part, ends its writing, and reads to the end. The last line is
 * "ms_duplex: OK sent=... received=..." or "ms_duplex: FAILED ..." (exit status 1).
 */
#include "sockets.h"

#include <fcntl.h>
#include <poll.h>
#ifdef PLAIN_SOCKETS
#define ms_poll poll
#define ms_fcntl fcntl
#endif

enum { kBuffer = 20000, kLast = 5000 };

static unsigned char byte_at(unsigned long i, unsigned long seed) {
  return (unsigned char)((i * 31 + seed + 1) * 0x9E3779B97F4A7C15UL >> 56);
}

int main(int argc, char** argv) {
  begin("ms_duplex");
  if (argc != 5 && argc != 6) {
    fprintf(stderr, "usage: ms_duplex MODE STOP_FILE SEED PORT [ADDRESS]\n");
    return 2;
  }
  const char *mode = argv[1], *stop_file = argv[2];
  const int connects = argc == 6;
  unsigned long mine = strtoul(argv[3], NULL, 10), theirs = mine + 1;
  if (connects) {
    mine = theirs;
    theirs = mine - 1;
  }
  int fd = connects ? connect_to(argv[5], atoi(argv[4])) : accept_one(atoi(argv[4]));
  printf("%s: connected\n", program);
  if (ms_fcntl(fd, F_SETFL, ms_fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) die("fcntl");
  const int half = strcmp(mode, connects ? "half" : "halfback") == 0;
  unsigned long sent = 0, received = 0, limit = strcmp(mode, "idle") == 0 ? 0 : ~0UL;
  int stopping = 0, write_ended = 0, read_ended = 0, said = 0;
  static unsigned char buffer[kBuffer];
  if (half) {
    if (ms_shutdown(fd, SHUT_WR) < 0) die("shutdown");
    write_ended = 1;
  }
  while (!write_ended || !read_ended) {
    if (!stopping && access(stop_file, F_OK) == 0) {
      stopping = 1;
      limit = sent + kLast;
    }
    const int reads = !read_ended && (stopping || strcmp(mode, "full") != 0);
    const int writes = !write_ended && sent < limit;
    struct pollfd p = {fd, (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)), 0};
    if (ms_poll(&p, 1, 20) < 0 && errno != EINTR) die("poll");
    if (reads) {
      ssize_t n = ms_read(fd, buffer, sizeof buffer);
      if (n < 0 && errno != EAGAIN && errno != EINTR) die("read");
      for (ssize_t i = 0; i < n; i++)
        if (buffer[i] != byte_at(received + (unsigned long)i, theirs)) {
          printf("%s: FAILED wrong byte %lu\n", program, received + (unsigned long)i);
          return 1;
        }
      if (n > 0) received += (unsigned long)n;
      if (n == 0) read_ended = 1;
    }
    if (writes) {
      size_t size = limit - sent < kBuffer ? limit - sent : kBuffer;
      for (size_t i = 0; i < size; i++) buffer[i] = byte_at(sent + i, mine);
      ssize_t n = ms_write(fd, buffer, size);
      if (n < 0 && errno != EAGAIN && errno != EINTR) die("write");
      if (n > 0) sent += (unsigned long)n;
      if (!said && strcmp(mode, "full") == 0 && n < 0 && errno == EAGAIN) said = printf("%s: flowing\n", program);
    }
    if (!write_ended && sent >= limit && stopping) {
      if (ms_shutdown(fd, SHUT_WR) < 0) die("shutdown");
      write_ended = 1;
    }
    if (!said && strcmp(mode, "full") != 0 && (sent + received > 1000000 || limit == 0)) said = printf("%s: flowing\n", program);
  }
  ms_close(fd);
  printf("%s: OK sent=%lu received=%lu\n", program, sent, received);
  return 0;
}
