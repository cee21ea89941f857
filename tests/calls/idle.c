/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * A connection on which nothing comes is never said to be readable, wherever in a call that asks the process has moved: a
 * program that believes it reads, and waits for ever. Another one has something unread all the time, so that the calls have
 * an answer at once.
 */
#include "waiters.h"

enum { UNREAD = 5000, SEED = 7 };

static void ask_about(int quiet, int unread) {
  /* With both, with the quiet one alone, and with room to write, which is there. */
  struct watched asked[] = {{.fd = quiet, .events = POLLIN, .in_set = -1}, {.fd = unread, .events = POLLIN, .in_set = -1}};
  int both = dice(3) != 0, write_too = dice(4) == 0, found;
  if (write_too) asked[0].events |= POLLOUT;
  waiter_begin((enum waiter)dice(4));
  found = wait_for(asked, 1 + both, both ? -1 : 0);
  if (asked[0].ready & ~POLLOUT && stopping()) return; /* the other end has heard of that before, and come to its end */
  if (asked[0].ready & ~POLLOUT) die("a connection on which nothing has come gives events %#x", asked[0].ready);
  if (both && asked[1].ready & ~POLLIN) die("one with something unread gives events %#x", asked[1].ready);
  MUST(found == (asked[0].ready != 0) + (both && asked[1].ready));
}

void mode_idle(enum role role) {
  static unsigned char bytes[UNREAD];
  int listener = role == SERVER ? listen_here(5) : -1;
  int quiet = role == SERVER ? accept_from(listener) : connect_there();
  int unread = role == SERVER ? accept_from(listener) : connect_there();
  int there;
  if (role == CLIENT) ready();
  fill(bytes, UNREAD, SEED, 0);
  write_all(unread, bytes, UNREAD);
  while (!stopping()) {
    for (int i = 0; i < 50; ++i) ask_about(quiet, unread); /* with little else in between, so that the moves come here */
    MUST(ioctl(quiet, FIONREAD, &there) == 0 && (there == 0 || stopping()));
    progress();
  }
  read_all(unread, bytes, UNREAD);
  check(bytes, UNREAD, SEED, 0);
  write_all(quiet, "", 1);
  read_all(quiet, bytes, 1);
}
