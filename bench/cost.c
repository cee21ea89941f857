/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * What a virtual socket costs over a plain one, in one process and one run: the driver holds a virtual and two plain
 * connections to the same server and uses the virtual one and a plain one in turns, some milliseconds each, so that whatever else
 * the machine does meets both alike. The two plain ones against each other tell how far to trust that.
 * Run under msrun --no-preload: ms_X are the virtual socket's calls, libc's names the plain one's.
 *
 *   cost serve PORT PLAIN_ADDRESS             both kinds listen on PORT; one driver after the other, until it is ended
 *   cost drive VIP PLAIN_ADDRESS PORT PAIRS   prints one line for each pair of bursts: "throughput BYTES RATIO", "pingpong BYTES
 *                                             RATIO": the virtual socket's speed over the plain one's; "plain BYTES RATIO"
 *                                             is the throughput of one plain connection over the other's
 *   cost count (send|recv) (virtual|plain) CALLS VIP PORT   for callgrind: so many calls of one byte and little else
 */
#include <sys/syscall.h>
#include <time.h>

#include "sockets.h"

enum { kMost = 1 << 20, kSides = 3 };
static unsigned char buffer[kMost];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct sockaddr_in name_of(const char* address, int port) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  if (inet_pton(AF_INET, address, &in.sin_addr) != 1) die(address);
  return in;
}

/* One connection as both kinds of calls see it. */
struct side {
  int fd;
  ssize_t (*send)(int, const void*, size_t, int);
  ssize_t (*recv)(int, void*, size_t, int);
};

static void send_all(const struct side* s, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t n = s->send(s->fd, buffer + done, length - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) die("send");
    done += (size_t)n;
  }
}

static void recv_all(const struct side* s, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t n = s->recv(s->fd, buffer + done, length - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) die("recv");
    done += (size_t)n;
  }
}

/* A request: how many messages of which size, and whether each is answered. */
struct request {
  int64_t count, size, echo;
};

static void answer(const struct side* s, const struct request* request) {
  if (request->echo) {
    for (int64_t k = 0; k < request->count; k++) {
      recv_all(s, (size_t)request->size);
      send_all(s, (size_t)request->size);
    }
    return;
  }
  for (int64_t left = request->count * request->size; left > 0;) {
    ssize_t got = s->recv(s->fd, buffer, left < kMost ? (size_t)left : kMost, 0);
    if (got <= 0) die("recv");
    left -= got;
  }
  send_all(s, 1);
}

/* The connections are used strictly in turns, as the driver says. */
static void serve_driver(int virtual_listener, int plain_listener) {
  int one = 1;
  struct side sides[kSides] = {{ms_accept(virtual_listener, NULL, NULL), ms_send, ms_recv}};
  ms_setsockopt(sides[0].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  for (int i = 1; i < kSides; i++) {
    sides[i] = (struct side){accept(plain_listener, NULL, NULL), send, recv};
    setsockopt(sides[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  for (int ended = 0; !ended;) {
    struct pollfd ready[kSides];
    for (int i = 0; i < kSides; i++) ready[i] = (struct pollfd){sides[i].fd, POLLIN, 0};
    if (ms_poll(ready, kSides, -1) < 0 && errno != EINTR) die("poll");
    for (int i = 0; i < kSides && !ended; i++) {
      if (!ready[i].revents) continue;
      struct request request;
      ssize_t n = sides[i].recv(sides[i].fd, &request, sizeof request, MSG_WAITALL);
      if (n != 0 && n != sizeof request) die("request");
      ended = n == 0;
      if (!ended) answer(&sides[i], &request);
    }
  }
  ms_close(sides[0].fd);
  for (int i = 1; i < kSides; i++) close(sides[i].fd);
}

static int serve(int port, const char* plain_address) {
  int one = 1;
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)}, at = name_of(plain_address, port);
  int virtual_listener = ms_socket(AF_INET, SOCK_STREAM, 0), plain_listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(plain_listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (ms_bind(virtual_listener, (struct sockaddr*)&any, sizeof any) < 0 || ms_listen(virtual_listener, 5) < 0) die("virtual listener");
  if (bind(plain_listener, (struct sockaddr*)&at, sizeof at) < 0 || listen(plain_listener, 5) < 0) die("plain listener");
  printf("%s: listening on port %d\n", program, port);
  for (;;) serve_driver(virtual_listener, plain_listener);
}

static double burst(const struct side* s, const struct request* request) {
  if (s->send(s->fd, request, sizeof *request, 0) != sizeof *request) die("request");
  double start = now();
  for (int64_t k = 0; k < request->count; k++) {
    send_all(s, (size_t)request->size);
    if (request->echo) recv_all(s, (size_t)request->size);
  }
  if (!request->echo) recv_all(s, 1);
  return now() - start;
}

static void compare(struct side* ours, struct side* plain, const char* what, int64_t size, int64_t echo, int pairs) {
  struct side* sides[2] = {ours, plain};
  struct request request = {.count = 16, .size = size, .echo = echo};
  /* Long enough for the congestion window and the scheduler to show the same face twice. */
  double least = size >= 4096 ? 0.008 : 0.003;
  burst(ours, &request);
  for (double took = burst(plain, &request); took < least && request.count < 1 << 20; took = burst(plain, &request))
    request.count = (int64_t)((double)request.count * (took < least / 4 ? 4 : 1.1 * least / took)) + 1;
  burst(ours, &request);
  for (int pair = 0; pair < pairs; pair++) {
    /* ABBA: what changes slowly meets both alike. */
    double a = burst(sides[pair % 2], &request), b = burst(sides[1 - pair % 2], &request);
    b += burst(sides[1 - pair % 2], &request);
    a += burst(sides[pair % 2], &request);
    printf("%s %lld %.5f\n", what, (long long)size, pair % 2 ? a / b : b / a); /* plain seconds over ours */
  }
}

static int drive(const char* vip, const char* plain_address, int port, int pairs) {
  int one = 1;
  if (pairs < 1) die("PAIRS");
  struct sockaddr_in at = name_of(plain_address, port);
  struct side sides[kSides] = {{connect_to(vip, port), ms_send, ms_recv}};
  ms_setsockopt(sides[0].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  for (int i = 1; i < kSides; i++) {
    sides[i] = (struct side){socket(AF_INET, SOCK_STREAM, 0), send, recv};
    if (connect(sides[i].fd, (struct sockaddr*)&at, sizeof at) < 0) die("connect");
    setsockopt(sides[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  for (int64_t size = 1; size <= kMost; size *= 2) {
    compare(&sides[0], &sides[1], "throughput", size, 0, pairs);
    compare(&sides[2], &sides[1], "plain", size, 0, pairs);
    compare(&sides[0], &sides[1], "pingpong", size, 1, pairs);
  }
  return 0;
}

/* A connection to ourselves, both ends in this process; what is not counted goes by system calls of our own. */
static int count(int sending, int is_virtual, long calls, const char* address, int port) {
  struct sockaddr_in at = name_of(address, port);
  int listener = (is_virtual ? ms_socket : socket)(AF_INET, SOCK_STREAM, 0), one = 1;
  if (!is_virtual) setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if ((is_virtual ? ms_bind : bind)(listener, (struct sockaddr*)&at, sizeof at) < 0) die("bind");
  if ((is_virtual ? ms_listen : listen)(listener, 5) < 0) die("listen");
  int to = (is_virtual ? ms_socket : socket)(AF_INET, SOCK_STREAM, 0);
  if ((is_virtual ? ms_connect : connect)(to, (struct sockaddr*)&at, sizeof at) < 0) die("connect");
  int from = (is_virtual ? ms_accept : accept)(listener, NULL, NULL);
  if (from < 0) die("accept");
  if (is_virtual && !ms_is_virtual(to)) die("not a virtual socket");
  char c = 0, many[64] = {0};
  for (long i = 0; i < calls; i += 64) {
    if (!sending && syscall(SYS_write, to, many, sizeof many) != sizeof many) die("write");
    if (sending && is_virtual)
      for (int k = 0; k < 64; k++) ms_send(to, &c, 1, 0);
    if (sending && !is_virtual)
      for (int k = 0; k < 64; k++) send(to, &c, 1, 0);
    if (!sending) /* every byte must have arrived: then each call takes one */
      for (size_t have = 0; have < sizeof many;) have = (size_t)syscall(SYS_recvfrom, from, many, sizeof many, MSG_PEEK | MSG_WAITALL, NULL, NULL);
    if (!sending && is_virtual)
      for (int k = 0; k < 64; k++) ms_recv(from, &c, 1, 0);
    if (!sending && !is_virtual)
      for (int k = 0; k < 64; k++) recv(from, &c, 1, 0);
    for (size_t done = 0; sending && done < sizeof many;) {
      long n = syscall(SYS_read, from, many, sizeof many - done);
      if (n <= 0) die("read");
      done += (size_t)n;
    }
  }
  printf("cost: counted %ld\n", calls);
  return 0;
}

int main(int argc, char** argv) {
  begin("cost");
  if (argc == 4 && strcmp(argv[1], "serve") == 0) return serve(atoi(argv[2]), argv[3]);
  if (argc == 6 && strcmp(argv[1], "drive") == 0) return drive(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
  if (argc == 7 && strcmp(argv[1], "count") == 0)
    return count(strcmp(argv[2], "send") == 0, strcmp(argv[3], "virtual") == 0, atol(argv[4]), argv[5], atoi(argv[6]));
  fprintf(stderr, "usage: cost serve PORT ADDRESS | cost drive VIP ADDRESS PORT PAIRS | cost count WHAT KIND CALLS ADDRESS PORT\n");
  return 2;
}
