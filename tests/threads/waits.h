/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * tests/threads/main.c: one thread for each way to wait. In each round it waits, the first thread releases it, and it says
 * whether it has seen what it must see.
 */
#ifndef MSOCKET_TESTS_THREADS_WAITS_H
#define MSOCKET_TESTS_THREADS_WAITS_H

#include <pthread.h>
#include <stdatomic.h>

struct wait {
  const char* name;
  void (*arm)(struct wait*);     /* the first thread, before the round; may be NULL */
  void (*wait)(struct wait*);    /* the waiting thread */
  void (*release)(struct wait*); /* the first thread */
  pthread_t thread;
  atomic_int tid, armed, done;
};

extern struct wait waits[];
extern const int wait_count;

void begin_waits(void);
/* Ends the program with a line when `good` is false. */
void must(int good, const char* what);
void wait_until(int (*good)(void*), void* argument, const char* what);
double monotonic(void);

#endif
