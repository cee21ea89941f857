/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * What a move costs: a program with so much memory, a peer that counts how long its pings stay away, and a plain copy of as
 * much memory to compare with. tools/bench downtime moves the first one about.
 *
 *   sock_downtime rank MIB PERCENT PORT   has MIB MiB resident, writes to PERCENT % of the pages a second, answers pings,
 *                                         and checks its memory when the peer has closed
 *   sock_downtime peer IP PORT STOP_FILE  one ping of 1 byte outstanding, the next after 0.2 ms. Prints each that took longer than
 *                                         0.5 ms, "stall SECONDS_SINCE_1970 MS" (when it began), until STOP_FILE exists
 *   sock_downtime take PORT               reads what `give` sends into memory of its own, copy after copy
 *   sock_downtime give IP PORT MIB COUNT  writes its memory COUNT times, 1 MiB at a time; a line "copy MIB MS" each
 */
#include <poll.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

#include "sockets.h"

enum { kPage = 4096, kBlock = 1 << 20, kPauseUs = 200, kTickMs = 1 };
static const double kWorthTelling = 0.5e-3;

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static unsigned char* memory_of(size_t bytes) {
  unsigned char* at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) die("memory");
  return at;
}

/* Page i begins with stamp[i], the rest tells which page it is. */
struct pages {
  uint64_t *words, *stamps;
  size_t count, next;
};

static uint64_t filler(size_t page, size_t word) { return (page << 16 | word) * 0x9e3779b97f4a7c15u; }

static struct pages make_pages(size_t mib) {
  struct pages p = {.count = (mib << 20) / kPage};
  p.words = (uint64_t*)memory_of(mib << 20);
  p.stamps = (uint64_t*)memory_of(p.count * sizeof *p.stamps);
  for (size_t i = 0; i < p.count; i++)
    for (size_t word = 1; word < kPage / 8; word++) p.words[i * kPage / 8 + word] = filler(i, word);
  return p;
}

static void dirty(struct pages* p, size_t count) {
  for (; count; count--, p->next = (p->next + 1) % p->count)
    p->words[p->next * kPage / 8] = ++p->stamps[p->next];
}

static void check_pages(const struct pages* p) {
  errno = EIO;
  for (size_t i = 0; i < p->count; i++) {
    if (p->words[i * kPage / 8] != p->stamps[i]) die("a page that is older than it was");
    for (size_t word = 1; word < kPage / 8; word++)
      if (p->words[i * kPage / 8 + word] != filler(i, word)) die("another page's content");
  }
}

static int rank(size_t mib, double percent, int port) {
  struct pages pages = make_pages(mib);
  int fd = accept_one(port);
  no_delay(fd);
  double per_second = (double)pages.count * percent / 100, before = now(CLOCK_MONOTONIC), owed = 0;
  printf("sock_downtime: running\n");
  for (;;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (ms_poll(&p, 1, percent > 0 ? kTickMs : -1) < 0 && errno != EINTR) die("poll");
    if (p.revents) {
      unsigned char ping;
      if (read_full(fd, &ping, 1) == 0) break;
      write_full(fd, &ping, 1);
    }
    if (percent <= 0) continue;
    /* Hosts differ in what their monotonic clock says, and a pause is not made up for: at most a tenth of a second's worth. */
    double t = now(CLOCK_MONOTONIC), passed = t - before;
    before = t;
    owed += per_second * (passed > 0.1 ? 0.1 : passed < 0 ? 0 : passed);
    dirty(&pages, (size_t)owed);
    owed -= (double)(size_t)owed;
  }
  check_pages(&pages);
  printf("sock_downtime: OK\n");
  return 0;
}

static int peer(const char* address, int port, const char* stop_file) {
  int fd = connect_to(address, port);
  no_delay(fd);
  printf("sock_downtime: pinging\n");
  unsigned char ping = 0;
  while (access(stop_file, F_OK) != 0) {
    double when = now(CLOCK_REALTIME), start = now(CLOCK_MONOTONIC);
    unsigned char pong;
    ping++;
    write_full(fd, &ping, 1);
    if (read_full(fd, &pong, 1) != 1 || pong != ping) die("another answer than the ping");
    double took = now(CLOCK_MONOTONIC) - start;
    if (took > kWorthTelling) printf("stall %.6f %.3f\n", when, 1e3 * took);
    usleep(kPauseUs);
  }
  ms_close(fd);
  printf("sock_downtime: OK\n");
  return 0;
}

/* Each copy has a connection of its own: first its size, then all of it; one byte says that it has arrived. */
static int take(int port) {
  int listener = listen_on(port);
  for (;;) {
    uint64_t bytes = 0;
    int fd = accept_next(listener);
    if (read_full(fd, (unsigned char*)&bytes, sizeof bytes) != sizeof bytes) return 0;
    unsigned char *at = memory_of(bytes), done = 1;
    for (size_t have = 0; have < bytes;) {
      size_t want = bytes - have < kBlock ? bytes - have : kBlock, got = read_full(fd, at + have, want);
      if (got < want) die("the end of the copy");
      have += got;
    }
    write_full(fd, &done, 1);
    ms_close(fd);
    munmap(at, bytes);
  }
}

static int give(const char* address, int port, size_t mib, int count) {
  struct pages pages = make_pages(mib);
  uint64_t bytes = mib << 20;
  for (int i = 0; i < count; i++) {
    unsigned char done;
    double start = now(CLOCK_MONOTONIC);
    int fd = connect_to(address, port);
    write_full(fd, (unsigned char*)&bytes, sizeof bytes);
    for (size_t have = 0; have < bytes; have += kBlock) write_full(fd, (unsigned char*)pages.words + have, kBlock);
    if (read_full(fd, &done, 1) != 1) die("the end of the connection");
    printf("copy %zu %.3f\n", mib, 1e3 * (now(CLOCK_MONOTONIC) - start));
    ms_close(fd);
  }
  return 0;
}

int main(int argc, char** argv) {
  begin("sock_downtime");
  if (argc == 5 && strcmp(argv[1], "rank") == 0) return rank(strtoul(argv[2], NULL, 10), atof(argv[3]), atoi(argv[4]));
  if (argc == 5 && strcmp(argv[1], "peer") == 0) return peer(argv[2], atoi(argv[3]), argv[4]);
  if (argc == 3 && strcmp(argv[1], "take") == 0) return take(atoi(argv[2]));
  if (argc == 6 && strcmp(argv[1], "give") == 0) return give(argv[2], atoi(argv[3]), strtoul(argv[4], NULL, 10), atoi(argv[5]));
  fprintf(stderr, "usage: sock_downtime rank MIB PERCENT PORT | peer IP PORT STOP_FILE | take PORT | give IP PORT MIB COUNT\n");
  return 2;
}
