/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Every call on datagram sockets, between sockets of one process: what they return is what the kernel's own would. Between
 * two rounds it waits for a line on standard input; the test moves it in that time, and all must be as before.
 *
 *   ms_udpcalls ROUNDS
 *
 * The last line is "ms_udpcalls: OK ..." or "ms_udpcalls: FAILED ..." (exit status 1).
 */
#include "sockets.h"

#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/uio.h>

#define CHECK(what)                                                                       \
  do {                                                                                    \
    if (!(what)) {                                                                        \
      printf("%s: FAILED line %d: %s (%s)\n", program, __LINE__, #what, strerror(errno)); \
      exit(1);                                                                            \
    }                                                                                     \
  } while (0)
#define FAILS(call, error)       \
  do {                           \
    errno = 0;                   \
    CHECK((call) == -1);         \
    CHECK(errno == (error));     \
  } while (0)

static struct sockaddr_in address(uint32_t ip, int port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = ip, .sin_port = htons((unsigned short)port)};
}
#define AT(a) ((struct sockaddr*)&(a)), sizeof(a)

static int bound(uint32_t ip, int port) {
  struct sockaddr_in at = address(ip, port);
  int fd = ms_socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(fd >= 0);
  CHECK(ms_bind(fd, AT(at)) == 0);
  return fd;
}

static int readable(int fd, int ms) {
  struct pollfd p = {fd, POLLIN, 0};
  int n = ms_poll(&p, 1, ms);
  CHECK(n >= 0);
  return n == 1 && (p.revents & POLLIN);
}

static int name_is(int fd, uint32_t ip, int port, int (*get)(int, struct sockaddr*, socklen_t*)) {
  struct sockaddr_in at;
  socklen_t length = sizeof at;
  CHECK(get(fd, (struct sockaddr*)&at, &length) == 0);
  return length == sizeof at && at.sin_family == AF_INET && at.sin_addr.s_addr == ip && ntohs(at.sin_port) == port;
}

static char text[70000], got[70000];
static int server, client;  /* open through all the rounds: port 7000 unconnected, port 7001 connected to it */
static int late;            /* bound only in the second round */

static void virtual_round(uint32_t me, int round) {
  struct sockaddr_in to = address(me, 7000), from, nobody = address(me, 7999);
  socklen_t length = sizeof from;
  CHECK(name_is(server, INADDR_ANY, 7000, ms_getsockname));
  CHECK(name_is(client, me, 7001, ms_getsockname));
  CHECK(name_is(client, me, 7000, ms_getpeername));
  FAILS(ms_getpeername(server, (struct sockaddr*)&from, &length), ENOTCONN);

  /* There and back; source addresses are virtual. */
  CHECK(ms_send(client, "hello", 5, 0) == 5);
  CHECK(readable(server, 5000));
  int waiting = -1;
  CHECK(ms_ioctl(server, FIONREAD, &waiting) == 0 && waiting == 5);
  CHECK(ms_recvfrom(server, got, sizeof got, MSG_PEEK, (struct sockaddr*)&from, &length) == 5);
  CHECK(ms_recvfrom(server, got, 3, MSG_PEEK | MSG_TRUNC, NULL, NULL) == 5);
  CHECK(ms_recvfrom(server, got, sizeof got, 0, (struct sockaddr*)&from, &length) == 5);
  CHECK(memcmp(got, "hello", 5) == 0 && from.sin_addr.s_addr == me && ntohs(from.sin_port) == 7001);
  FAILS(ms_recv(server, got, sizeof got, MSG_DONTWAIT), EAGAIN);
  CHECK(ms_sendto(server, "", 0, 0, AT(from)) == 0);
  CHECK(readable(client, 5000) && ms_read(client, got, sizeof got) == 0);
  struct iovec parts[2] = {{"par", 3}, {"ts", 2}};
  CHECK(ms_writev(client, parts, 2) == 5 && ms_write(client, "last", 4) == 4);
  char a[2], b[2];
  struct iovec into[2] = {{a, 2}, {b, 2}};
  CHECK(ms_readv(server, into, 2) == 4 && memcmp(a, "pa", 2) == 0 && memcmp(b, "rt", 2) == 0);
  CHECK(ms_recv(server, got, sizeof got, 0) == 4 && memcmp(got, "last", 4) == 0);

  /* Sizes. */
  for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * 7 + i / 256);
  CHECK(ms_send(client, text, 65451, 0) == 65451);
  CHECK(ms_recv(server, got, sizeof got, 0) == 65451 && memcmp(got, text, 65451) == 0);
  FAILS(ms_send(client, text, 65452, 0), EMSGSIZE);

  /* A connected socket takes nothing of others. */
  int other = bound(me, 7002);
  struct sockaddr_in at_client = address(me, 7001);
  CHECK(ms_sendto(other, "x", 1, 0, AT(at_client)) == 1);
  CHECK(ms_sendto(server, "y", 1, 0, AT(at_client)) == 1);
  CHECK(ms_recv(client, got, sizeof got, 0) == 1 && got[0] == 'y');
  FAILS(ms_sendto(other, "x", 1, 0, NULL, 0), EDESTADDRREQ);
  FAILS(ms_listen(other, 5), EOPNOTSUPP);

  /* Nobody there: a connected socket hears of it, another does not. */
  CHECK(ms_sendto(other, "x", 1, 0, AT(nobody)) == 1);
  CHECK(ms_sendto(other, "x", 1, 0, AT(nobody)) == 1);
  CHECK(ms_connect(other, AT(nobody)) == 0);
  CHECK(ms_send(other, "x", 1, 0) == 1);
  FAILS(ms_recv(other, got, sizeof got, 0), ECONNREFUSED);
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  CHECK(ms_connect(other, &none, sizeof none) == 0);
  FAILS(ms_getpeername(other, (struct sockaddr*)&from, &length), ENOTCONN);
  CHECK(ms_connect(other, AT(to)) == 0 && ms_send(other, "again", 5, 0) == 5);
  CHECK(ms_recv(server, got, sizeof got, 0) == 5);

  /* Time limits, copies, one port at a time, and a port that is opened anew. */
  struct timeval limit = {0, 50000};
  CHECK(ms_setsockopt(other, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  FAILS(ms_recv(other, got, sizeof got, 0), EAGAIN);
  int copy = ms_dup(other);
  CHECK(copy >= 0 && ms_close(other) == 0);
  CHECK(ms_send(copy, "copy", 4, 0) == 4 && ms_recv(server, got, sizeof got, 0) == 4);
  struct sockaddr_in taken = address(INADDR_ANY, 7002);
  int second = ms_socket(AF_INET, SOCK_DGRAM, 0);
  FAILS(ms_bind(second, AT(taken)), EADDRINUSE);
  CHECK(ms_close(copy) == 0 && ms_bind(second, AT(taken)) == 0);
  CHECK(ms_sendto(second, "port", 4, 0, AT(to)) == 4 && ms_recv(server, got, sizeof got, 0) == 4);
  CHECK(ms_connect(second, AT(to)) == 0 && ms_shutdown(second, SHUT_RD) == 0);
  CHECK(ms_recv(second, got, sizeof got, 0) == 0);
  CHECK(ms_shutdown(second, SHUT_WR) == 0);
  FAILS(ms_send(second, "x", 1, 0), EPIPE);
  CHECK(ms_close(second) == 0);

  /* TCP's ports are others. */
  int stream = ms_socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in same = address(INADDR_ANY, 7000);
  CHECK(ms_bind(stream, AT(same)) == 0 && ms_listen(stream, 5) == 0 && ms_close(stream) == 0);

  /* A port that was asked for in vain is found as soon as it is bound. */
  struct sockaddr_in at_late = address(me, 7003);
  CHECK(ms_sendto(client, "early", 5, 0, AT(at_late)) == 5);
  if (round == 1) late = bound(INADDR_ANY, 7003);
  if (round >= 1) {
    do CHECK(ms_sendto(client, "late", 4, 0, AT(at_late)) == 4);
    while (!readable(late, 100));
    while (ms_recv(late, got, sizeof got, MSG_DONTWAIT) > 0) continue;
  }
}

/* The real network; such a socket would forbid the move, so all are closed. */
static void real_round(void) {
  struct sockaddr_in any = address(htonl(INADDR_LOOPBACK), 0), at;
  socklen_t length = sizeof at;
  int listener = ms_socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(ms_bind(listener, AT(any)) == 0 && ms_getsockname(listener, (struct sockaddr*)&at, &length) == 0);
  CHECK(at.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && at.sin_port != 0);
  /* As a resolver does it: connect, or sendto without a word before. */
  int one = ms_socket(AF_INET, SOCK_DGRAM, 0), two = ms_socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(ms_connect(one, AT(at)) == 0 && ms_send(one, "one", 3, 0) == 3);
  CHECK(ms_sendto(two, "two", 3, 0, AT(at)) == 3);
  struct sockaddr_in from;
  CHECK(ms_recvfrom(listener, got, sizeof got, 0, (struct sockaddr*)&from, &length) == 3);
  CHECK(ms_recvfrom(listener, got, sizeof got, 0, (struct sockaddr*)&from, &length) == 3 && memcmp(got, "two", 3) == 0);
  CHECK(ms_sendto(listener, "back", 4, 0, AT(from)) == 4 && ms_recv(two, got, sizeof got, 0) == 4);
  /* Bound to any address, and then used for the real network: it has that port there. */
  int three = bound(INADDR_ANY, 7104);
  CHECK(ms_sendto(three, "three", 5, 0, AT(at)) == 5);
  CHECK(ms_recvfrom(listener, got, sizeof got, 0, (struct sockaddr*)&from, &length) == 5 && ntohs(from.sin_port) == 7104);
  /* Once virtual, always virtual. */
  FAILS(ms_sendto(server, "x", 1, 0, AT(at)), ENETUNREACH);
  CHECK(ms_close(one) == 0 && ms_close(two) == 0 && ms_close(three) == 0 && ms_close(listener) == 0);
}

int main(int argc, char** argv) {
  begin("ms_udpcalls");
  const int rounds = argc == 2 ? atoi(argv[1]) : 0;
  if (rounds < 1) {
    fprintf(stderr, "usage: ms_udpcalls ROUNDS\n");
    return 2;
  }
  const uint32_t me = ms_virtual_address();
  CHECK(me != 0);
  struct sockaddr_in to = address(me, 7000);
  server = bound(INADDR_ANY, 7000);
  client = bound(me, 7001);
  CHECK(ms_connect(client, AT(to)) == 0);
  for (int round = 0; round < rounds; round++) {
    virtual_round(me, round);
    real_round();
    printf("%s: round %d done\n", program, round);
    char line[16];
    if (round + 1 < rounds && !fgets(line, sizeof line, stdin)) die("standard input");
  }
  printf("%s: OK generation=%u\n", program, ms_generation());
  return 0;
}
