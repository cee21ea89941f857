/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * The ping-pong of the paper's section 8.5: ping sends a message of random bytes, pong sends it back, ping compares every byte.
 * Both count the messages and put the count into each, so that one lost or answered twice is found at once.
 *
 *   ms_pingpong pong PORT SIZE
 *   ms_pingpong ping IP PORT SIZE SEED STOP_FILE     until STOP_FILE exists
 *
 * The last line is "ms_pingpong: OK messages=..." or "ms_pingpong: FAILED ..." (exit status 1).
 */
#include "sockets.h"

static void wrong(const char* what, long message) {
  printf("%s: FAILED message %ld %s\n", program, message, what);
  exit(1);
}

static long pong(int fd, unsigned char* buffer, size_t size) {
  for (long count = 0;; count++) {
    size_t got = read_full(fd, buffer, size);
    if (got == 0) return count;
    if (got < size) wrong("is cut short", count);
    if (memcmp(buffer, &count, sizeof count) != 0) wrong("is not the next one", count);
    write_full(fd, buffer, size);
  }
}

static long ping(int fd, unsigned char* buffer, size_t size, const char* stop_file) {
  unsigned char* sent = malloc(size);
  for (long count = 0;; count++) {
    if (count % 64 == 0 && access(stop_file, F_OK) == 0) {
      free(sent);
      return count;
    }
    memcpy(sent, &count, sizeof count);
    for (size_t i = sizeof count; i < size; i++) sent[i] = (unsigned char)(random() >> 8);
    write_full(fd, sent, size);
    if (read_full(fd, buffer, size) < size) wrong("is not answered", count);
    if (memcmp(buffer, sent, size) != 0) wrong("comes back changed", count);
  }
}

int main(int argc, char** argv) {
  begin("ms_pingpong");
  int pings = argc == 7 && strcmp(argv[1], "ping") == 0;
  if (!pings && !(argc == 4 && strcmp(argv[1], "pong") == 0)) {
    fprintf(stderr, "usage: ms_pingpong pong PORT SIZE | ms_pingpong ping IP PORT SIZE SEED STOP_FILE\n");
    return 2;
  }
  const size_t size = (size_t)atol(argv[pings ? 4 : 3]);
  unsigned char* buffer = malloc(size);
  if (size < sizeof(long) || !buffer) die("SIZE");
  if (pings) srandom((unsigned)atol(argv[5]));
  int fd = pings ? connect_to(argv[2], atoi(argv[3])) : accept_one(atoi(argv[2]));
  no_delay(fd);
  printf("%s: connected\n", program);
  long messages = pings ? ping(fd, buffer, size, argv[6]) : pong(fd, buffer, size);
  ms_close(fd);
  free(buffer);
  printf("%s: OK messages=%ld\n", program, messages);
  return 0;
}
