/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Ranks 0-1, 2-3, ... are busy pairs: several messages of random size are on the way in both directions at any time, every
 * byte checked. What happens when both ends of a connection in full use move at once shows here. With an odd number of
 * ranks the last one only takes part in the agreements.
 */
#include "selftest.h"

enum { kWindow = 4 }; /* messages on the way, each direction */

struct window {
  unsigned char* out[kWindow];
  unsigned char* in[kWindow];
};

static uint64_t key_of(const struct selftest* t, int from, int to, int slot) {
  return content_key(t, t->iteration * kWindow + slot, from, to);
}

/* One round with the partner; returns the bytes received. */
static long exchange(struct selftest* t, struct window* w, int partner) {
  MPI_Request requests[2 * kWindow];
  MPI_Status statuses[2 * kWindow];
  long bytes = 0;
  for (int i = 0; i < kWindow; i++)
    MPI_Irecv(w->in[i], (int)t->size, MPI_BYTE, partner, i, MPI_COMM_WORLD, &requests[i]);
  for (int i = 0; i < kWindow; i++) {
    uint64_t key = key_of(t, t->rank, partner, i);
    long size = content_size(key, t->size);
    content_fill(w->out[i], size, key);
    content_spoil(t, w->out[i], size);
    MPI_Isend(w->out[i], (int)size, MPI_BYTE, partner, i, MPI_COMM_WORLD, &requests[kWindow + i]);
  }
  MPI_Waitall(2 * kWindow, requests, statuses);
  for (int i = 0; i < kWindow; i++) {
    uint64_t key = key_of(t, partner, t->rank, i);
    long due = content_size(key, t->size);
    int got;
    MPI_Get_count(&statuses[i], MPI_BYTE, &got);
    if (got != due) {
      selftest_fail(t, "round %ld: %d bytes from rank %d instead of %ld", t->iteration, got, partner, due);
      continue;
    }
    long wrong = content_wrong(w->in[i], due, key);
    if (wrong >= 0) selftest_fail(t, "round %ld, from rank %d: byte %ld of %ld is wrong", t->iteration, partner, wrong, due);
    bytes += due;
  }
  return bytes;
}

int main(int argc, char** argv) {
  struct selftest t;
  selftest_begin(&t, "pingpair", &argc, &argv);
  t.agree_every = 32;
  const int partner = t.rank ^ 1;
  struct window w;
  for (int i = 0; i < kWindow; i++) {
    w.out[i] = malloc((size_t)t.size + 8);
    w.in[i] = malloc((size_t)t.size + 8);
  }

  long bytes = 0, all = 0;
  while (selftest_goes_on(&t))
    if (partner < t.ranks) bytes += exchange(&t, &w, partner);

  MPI_Reduce(&bytes, &all, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
  for (int i = 0; i < kWindow; i++) {
    free(w.out[i]);
    free(w.in[i]);
  }
  return selftest_end(&t, "bytes=%ld", all);
}
