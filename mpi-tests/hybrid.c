/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * MPI_THREAD_MULTIPLE under OpenMP: every thread of every rank exchanges messages of its own with the threads of the same
 * number in all other ranks, all at once, and computes between them. Each byte and each sum is known in advance.
 */
#include <omp.h>

#include "selftest.h"

enum { kThreads = 4 };

static long thread_rounds;
#pragma omp threadprivate(thread_rounds)

struct work {
  MPI_Comm comm;
  unsigned char *out, *in;
  long bytes, wrong_byte;
  int wrong_from, wrong_sum;
};

static void compute(struct work* w) {
  double series = 0;
  for (int i = 1; i <= 20000; i++) series += 1.0 / ((double)i * i);
  if (!(series > 1.6448 && series < 1.6450)) w->wrong_sum = 1;
}

/* From and to each other rank in turn; rank r+d sends to the one that expects r-d. */
static void exchange(const struct selftest* t, struct work* w, int thread) {
  for (int step = 0; step < t->ranks; step++) {
    int to = (t->rank + step) % t->ranks, from = (t->rank - step + t->ranks) % t->ranks;
    uint64_t sent = content_key(t, t->iteration * kThreads + thread, t->rank, to);
    uint64_t due = content_key(t, t->iteration * kThreads + thread, from, t->rank);
    long count = content_size(sent, t->size), expected = content_size(due, t->size);
    content_fill(w->out, count, sent);
    if (thread == 1) content_spoil(t, w->out, count);
    MPI_Sendrecv(w->out, (int)count, MPI_BYTE, to, thread, w->in, (int)expected, MPI_BYTE, from, thread, w->comm,
                 MPI_STATUS_IGNORE);
    long wrong = content_wrong(w->in, expected, due);
    if (wrong >= 0 && w->wrong_byte < 0) w->wrong_byte = wrong, w->wrong_from = from;
    w->bytes += count;
    compute(w);
  }
}

int main(int argc, char** argv) {
  int provided;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  struct selftest t;
  selftest_begin(&t, "hybrid", &argc, &argv);
  if (provided != MPI_THREAD_MULTIPLE) selftest_fail(&t, "no MPI_THREAD_MULTIPLE but %d", provided);
  struct work work[kThreads];
  for (int i = 0; i < kThreads; i++) {
    work[i] = (struct work){.out = malloc((size_t)t.size), .in = malloc((size_t)t.size), .wrong_byte = -1};
    MPI_Comm_dup(MPI_COMM_WORLD, &work[i].comm);
  }

  while (selftest_goes_on(&t)) {
    int strange = 0;
#pragma omp parallel num_threads(kThreads) reduction(+ : strange)
    {
      int thread = omp_get_thread_num();
      if (++thread_rounds != t.iteration || omp_get_num_threads() != kThreads) strange = 1;
      exchange(&t, &work[thread], thread);
    }
    if (strange) selftest_fail(&t, "round %ld: %d threads are not the ones they were", t.iteration, strange);
    for (int i = 0; i < kThreads; i++) {
      if (work[i].wrong_byte >= 0) selftest_fail(&t, "thread %d, from rank %d: byte %ld is wrong", i, work[i].wrong_from, work[i].wrong_byte);
      if (work[i].wrong_sum) selftest_fail(&t, "thread %d has computed something else", i);
    }
  }

  long mine = 0, all = 0;
  for (int i = 0; i < kThreads; i++) {
    mine += work[i].bytes;
    MPI_Comm_free(&work[i].comm);
    free(work[i].out);
    free(work[i].in);
  }
  MPI_Reduce(&mine, &all, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
  return selftest_end(&t, "threads=%d bytes=%ld", kThreads, all);
}
