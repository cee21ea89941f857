/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * IPv6 programs: a listener for both families, names that are IPv4 ones mapped into IPv6, and an IPv6-only listener beside an
 * IPv4 one on the same port, as many servers have it.
 */
#include "calls.h"

static int listener_at(int family, int port, int v6_only) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  struct sockaddr_in6 at6 = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port)};
  int one = 1, fd = socket(family, SOCK_STREAM, 0);
  MUST(fd >= 0);
  MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
  if (family == AF_INET6) {
    MUST(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only) == 0);
    MUST(bind(fd, (struct sockaddr*)&at6, sizeof at6) == 0);
  } else {
    MUST(bind(fd, (struct sockaddr*)&at, sizeof at) == 0);
  }
  MUST(listen(fd, 10) == 0);
  set_nonblocking(fd, 1);
  return fd;
}

static void check_mapped(int fd, int peer, int port) {
  struct sockaddr_in6 name;
  socklen_t length = sizeof name;
  MUST((peer ? getpeername : getsockname)(fd, (struct sockaddr*)&name, &length) == 0);
  MUST(length == sizeof name && name.sin6_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&name.sin6_addr));
  MUST(!port || ntohs(name.sin6_port) == port);
}

static int connect_to(int family, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port)};
  char mapped[64];
  int fd = socket(family, SOCK_STREAM, 0);
  MUST(inet_pton(AF_INET, server_address, &to.sin_addr) == 1);
  snprintf(mapped, sizeof mapped, "::ffff:%s", server_address);
  MUST(inet_pton(AF_INET6, mapped, &to6.sin6_addr) == 1);
  MUST(connect(fd, family == AF_INET ? (struct sockaddr*)&to : (struct sockaddr*)&to6,
               family == AF_INET ? sizeof to : sizeof to6) == 0);
  if (family == AF_INET6) check_mapped(fd, 1, port), check_mapped(fd, 0, 0);
  return fd;
}

static void serve_both(void) {
  enum { BOTH, FOUR, SIX, FIRST };
  struct pollfd fds[32];
  int count = FIRST, ever = 0, six[32] = {0};
  unsigned char bytes[8192];
  fds[BOTH] = (struct pollfd){listener_at(AF_INET6, server_port, 0), POLLIN, 0};
  fds[SIX] = (struct pollfd){listener_at(AF_INET6, server_port + 1, 1), POLLIN, 0};
  fds[FOUR] = (struct pollfd){listener_at(AF_INET, server_port + 1, 0), POLLIN, 0};
  ready();
  while (count > FIRST || !ever || !stopping()) {
    MUST(poll(fds, (nfds_t)count, 200) >= 0);
    for (int i = count - 1; i >= FIRST; --i) {
      if (!fds[i].revents) continue;
      if (six[i]) check_mapped(fds[i].fd, 1, 0), check_mapped(fds[i].fd, 0, server_port);
      ssize_t n = read(fds[i].fd, bytes, sizeof bytes);
      MUST(n >= 0);
      if (n > 0) write_all(fds[i].fd, bytes, (size_t)n);
      if (n > 0) continue;
      MUST(close(fds[i].fd) == 0);
      fds[i] = fds[--count];
      six[i] = six[count];
    }
    /* Nobody can come there; a move while others wait beside it changes nothing. */
    MUST(fds[SIX].revents == 0);
    MUST(accept(fds[SIX].fd, NULL, NULL) < 0 && errno == EAGAIN);
    for (int i = BOTH; i <= FOUR && dice(2); ++i) { /* let some wait */
      if (!fds[i].revents) continue;
      struct sockaddr_storage from;
      socklen_t length = sizeof from;
      int fd = accept(fds[i].fd, (struct sockaddr*)&from, &length);
      MUST(fd >= 0);
      MUST(from.ss_family == (i == BOTH ? AF_INET6 : AF_INET) && count < 32);
      six[count] = i == BOTH;
      fds[count++] = (struct pollfd){fd, POLLIN, 0};
      ++ever;
    }
    progress();
  }
}

void mode_ipv6(enum role role) {
  if (role == SERVER) return serve_both();
  static const struct { int family, port; } kinds[] = {{AF_INET, 0}, {AF_INET6, 0}, {AF_INET, 1}, {AF_INET6, 1}};
  ready();
  int kept = connect_to(AF_INET, server_port); /* the server stays as long as it has this one */
  echo_round(kept, 100);
  while (!stopping()) {
    int fds[4];
    for (int i = 0; i < 4; ++i) fds[i] = connect_to(kinds[i].family, server_port + kinds[i].port);
    for (int i = 0; i < 4; ++i)
      for (int round = 0; round < 5; ++round) echo_round(fds[i], 1 + dice(6000));
    for (int i = 0; i < 4; ++i) MUST(close(fds[i]) == 0);
    progress();
  }
  MUST(close(kept) == 0);
}
