/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * The calls that wait for many descriptors, behind one face for engine.c: poll, ppoll, select, pselect and three ways of epoll.
 */
#ifndef MSOCKET_TESTS_WAITERS_H
#define MSOCKET_TESTS_WAITERS_H

#include "calls.h"

enum { MOST_WATCHED = 128 };

/* What the engine waits for: `events` is asked, `ready` answered, in poll's bits. */
struct watched {
  int fd;
  short events, ready;
  short in_set;  /* what the epoll set has been told; -1: it does not know the descriptor */
  int armed;     /* EPOLLONESHOT */
};

enum waiter { POLL, PPOLL, SELECT, PSELECT, LEVEL, EDGE, ONESHOT };

void waiter_begin(enum waiter kind);
/* The descriptor is about to be closed, or used for another connection. */
void waiter_forget(struct watched* entry);
/* Like poll; dies of anything but a number of descriptors or, with a time-out, 0 after that time. */
int wait_for(struct watched* entries, int count, int timeout_ms);

#endif
