/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Many connections between two that move at the same time: each daemon opens what its rank has opened, while the other asks it to
 * open what its own has accepted.
 */
#include "calls.h"

enum { COUNT = 120, MOST = 500 };

static void serve(int listener) {
  static struct pollfd fds[COUNT];
  unsigned char bytes[MOST];
  int left = COUNT;
  for (int i = 0; i < COUNT; ++i) fds[i] = (struct pollfd){accept_from(listener), POLLIN, 0};
  while (left) {
    MUST(poll(fds, COUNT, -1) > 0);
    for (int i = 0; i < COUNT; ++i) {
      if (fds[i].fd < 0 || !fds[i].revents) continue;
      ssize_t n = read(fds[i].fd, bytes, sizeof bytes);
      MUST(n >= 0);
      if (n > 0) {
        write_all(fds[i].fd, bytes, (size_t)n);
        progress();
        continue;
      }
      if (!stopping()) die("the end of connection %d, which nobody has ended", i);
      MUST(close(fds[i].fd) == 0);
      fds[i].fd = -1;
      --left;
    }
  }
}

void mode_many(enum role role) {
  int fds[COUNT];
  if (role == SERVER) return serve(listen_here(COUNT));
  for (int i = 0; i < COUNT; ++i) fds[i] = connect_there();
  ready();
  while (!stopping()) {
    for (int i = 0; i < COUNT; ++i) echo_round(fds[i], 1 + dice(MOST));
    progress();
  }
  for (int i = 0; i < COUNT; ++i) MUST(close(fds[i]) == 0);
}
