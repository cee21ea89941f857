/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Datagrams both ways (the paper's section 8.6): each of two programs sends numbered ones of random sizes and contents to the
 * other, and looks at all that comes: the source's address, the contents, and that no number comes twice.
 *
 *   ms_udp [-c] [-n COUNT] [-m MOST] [-s STOP_FILE] [-p PAUSE_FILE] PORT PEER_IP PEER_PORT RATE SEED
 *
 * When they have heard of each other they begin. RATE is in datagrams a second; 0: it sends none. It sends until STOP_FILE
 * exists or, without one, COUNT datagrams. While PAUSE_FILE exists it reads nothing. Then both tell each other how many they
 * have sent. -c: connect, send and recv instead of sendto and recvfrom. -m: their contents have MOST bytes at most (60000).
 * The last line is "ms_udp: OK sent=... received=... of=... dropped=..." or "ms_udp: FAILED ..." (exit status 1); `of` is how
 * many the peer has sent, `dropped` what the library has kept away from the program.
 */
#include "sockets.h"

#include <stdint.h>
#include <time.h>

#ifdef PLAIN_SOCKETS
#define ms_sendto sendto
#define ms_recvfrom recvfrom
#define ms_send send
#define ms_recv recv
#define ms_bind bind
#define ms_poll poll
#define ms_datagrams_dropped() 0ul
#include <poll.h>
#endif

enum { kHead = 16, kMost = 60000, kSeen = 1 << 26 };
static const uint32_t kData = 0x61746144, kEnd = 0x20646e45, kEndSeen = 0x6e656553, kHello = 0x6f6c6548, kHeard = 0x64726165;

struct head {
  uint32_t kind, number, size, sum;
};

static struct sockaddr_in peer;
static int connected;
static unsigned char seen[kSeen / 8];
static unsigned char buffer[kHead + kMost + 64];
static unsigned long sent, received, peer_sent;
static int heard, peer_ended, peer_knows;
static uint32_t most = kMost;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void wrong(const char* what, unsigned long a, unsigned long b) {
  printf("%s: FAILED %s: %lu, %lu\n", program, what, a, b);
  exit(1);
}

static uint32_t next(uint64_t* state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*state >> 32);
}

/* The contents follow from the number and the seed, so that the peer can tell them. */
static size_t fill(unsigned char* at, uint32_t number, uint32_t seed) {
  uint64_t state = (uint64_t)seed << 32 | number;
  next(&state);
  size_t size = next(&state) % 20 == 0 ? 1 + next(&state) % most : 1 + next(&state) % (most < 1200 ? most : 1200);
  uint32_t sum = 0;
  for (size_t i = 0; i < size; i++) {
    at[kHead + i] = (unsigned char)next(&state);
    sum = sum * 31 + at[kHead + i];
  }
  struct head head = {kData, number, (uint32_t)size, sum};
  memcpy(at, &head, kHead);
  return kHead + size;
}

static void put(int fd, const void* data, size_t size) {
  ssize_t n = connected ? ms_send(fd, data, size, 0) : ms_sendto(fd, data, size, 0, (struct sockaddr*)&peer, sizeof peer);
  if (n < 0 && (errno == ECONNREFUSED || errno == EINTR)) return; /* the peer has not begun, or has ended */
  if (n != (ssize_t)size) die("send");
}

static void put_kind(int fd, uint32_t kind) {
  struct head head = {kind, (uint32_t)sent, 0, 0};
  put(fd, &head, sizeof head);
}

static void look_at(int fd, size_t size, uint32_t seed, const struct sockaddr_in* from) {
  static unsigned char expected[sizeof buffer];
  struct head head;
  if (from && (from->sin_addr.s_addr != peer.sin_addr.s_addr || from->sin_port != peer.sin_port))
    wrong("a datagram from a stranger", ntohl(from->sin_addr.s_addr), ntohs(from->sin_port));
  if (size < kHead) wrong("a datagram too short", size, kHead);
  memcpy(&head, buffer, kHead);
  heard = 1;
  if (head.kind == kHello) put_kind(fd, kHeard);
  if (head.kind == kHello || head.kind == kHeard) return;
  if (head.kind == kEnd) {
    peer_ended = 1;
    peer_sent = head.number;
    put_kind(fd, kEndSeen);
    return;
  }
  if (head.kind == kEndSeen) {
    peer_knows = 1;
    return;
  }
  if (head.kind != kData || head.number >= kSeen) wrong("an unknown datagram", head.kind, head.number);
  size_t should = fill(expected, head.number, seed);
  if (should != size) wrong("a datagram of another size", size, should);
  if (memcmp(buffer, expected, size) != 0) wrong("a datagram with wrong contents", head.number, size);
  if (seen[head.number / 8] >> (head.number % 8) & 1) wrong("a datagram twice", head.number, size);
  seen[head.number / 8] |= (unsigned char)(1 << (head.number % 8));
  received++;
}

/* Takes what comes within `seconds`, and until none is left; 0: nothing came. */
static int take(int fd, double seconds, uint32_t seed, const char* pause_file) {
  struct pollfd p = {fd, POLLIN, 0};
  int any = 0;
  if (pause_file && access(pause_file, F_OK) == 0) {
    ms_poll(NULL, 0, (int)(seconds * 1000) + 1);
    return 1;
  }
  if (ms_poll(&p, 1, (int)(seconds * 1000)) < 0 && errno != EINTR) die("poll");
  for (;;) {
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t n = connected ? ms_recv(fd, buffer, sizeof buffer, MSG_DONTWAIT)
                          : ms_recvfrom(fd, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr*)&from, &length);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return any;
    if (n < 0 && errno == ECONNREFUSED) continue;
    if (n < 0) die("recv");
    look_at(fd, (size_t)n, seed, connected ? NULL : &from);
    any = 1;
  }
}

static int usage(void) {
  fprintf(stderr, "usage: ms_udp [-c] [-n COUNT] [-m MOST] [-s STOP_FILE] [-p PAUSE_FILE] PORT PEER_IP PEER_PORT RATE SEED\n");
  return 2;
}

int main(int argc, char** argv) {
  const char *stop_file = NULL, *pause_file = NULL;
  unsigned long count = 0;
  int option;
  begin("ms_udp");
  while ((option = getopt(argc, argv, "+cm:n:s:p:")) != -1) {
    if (option == 'c') connected = 1;
    else if (option == 'n') count = (unsigned long)atol(optarg);
    else if (option == 'm') most = (uint32_t)atol(optarg);
    else if (option == 's') stop_file = optarg;
    else if (option == 'p') pause_file = optarg;
    else return usage();
  }
  if (argc - optind != 5 || most < 1 || most > kMost) return usage();
  char** args = argv + optind;
  const double rate = atof(args[3]);
  const uint32_t seed = (uint32_t)atol(args[4]);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(args[0]))};
  peer = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(args[2]))};
  if (inet_pton(AF_INET, args[1], &peer.sin_addr) != 1) return usage();
  int fd = ms_socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
  if (fd < 0) die("socket");
  ms_setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (ms_bind(fd, (struct sockaddr*)&at, sizeof at) < 0) die("bind");
  if (connected && ms_connect(fd, (struct sockaddr*)&peer, sizeof peer) < 0) die("connect");
  printf("%s: bound to port %s\n", program, args[0]);

  while (!heard && !(stop_file && access(stop_file, F_OK) == 0)) {
    put_kind(fd, kHello);
    take(fd, 0.05, seed, NULL);
  }
  const double start = now();
  static unsigned char out[kHead + kMost];
  while (stop_file ? access(stop_file, F_OK) != 0 : sent < count) {
    double due = rate > 0 ? start + (double)sent / rate : now() + 0.1;
    if (rate > 0 && now() >= due && sent < kSeen) {
      size_t n = fill(out, (uint32_t)sent, seed);
      put(fd, out, n);
      if (++sent % 1000 == 0) printf("%s: %lu so far\n", program, sent);
    }
    due -= now();
    take(fd, due > 0.02 ? 0.02 : due > 0 ? due : 0, seed, pause_file);
  }
  printf("%s: sent=%lu\n", program, sent);

  /* Both numbers have to arrive, by whatever many datagrams. After that it listens a while for those that are late. */
  const double give_up = now() + 60;
  while (!(peer_ended && peer_knows)) {
    if (now() > give_up)
      wrong("the peer's end does not come: ended, knows", (unsigned long)peer_ended, (unsigned long)peer_knows);
    if (!peer_knows) put_kind(fd, kEnd);
    take(fd, 0.05, seed, pause_file);
  }
  for (double quiet = now(); now() - quiet < 1;)
    if (take(fd, 0.1, seed, pause_file)) quiet = now();
  unsigned long dropped = ms_datagrams_dropped();
  if (ms_close(fd) < 0) die("close");
  if (received > peer_sent) wrong("more received than sent", received, peer_sent);
  printf("%s: OK sent=%lu received=%lu of=%lu dropped=%lu\n", program, sent, received, peer_sent, dropped);
  return 0;
}
