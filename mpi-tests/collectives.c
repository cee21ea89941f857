/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * A long loop of collective operations, each with a result that every rank can compute by itself. The root changes every
 * round. Sums are of integers, so that they are exact in any order.
 */
#include "selftest.h"

/* What rank `rank` contributes in this round, element i. */
static int64_t part(const struct selftest* t, int rank, int i) {
  return (int64_t)(mix(content_key(t, t->iteration, rank, 0) + (uint64_t)i) & 0xffffffff);
}

static void check_bcast(struct selftest* t, int root, unsigned char* buffer) {
  uint64_t key = content_key(t, t->iteration, root, root);
  long bytes = content_size(key, t->size);
  memset(buffer, 0, (size_t)bytes);
  if (t->rank == root) {
    content_fill(buffer, bytes, key);
    content_spoil(t, buffer, bytes);
  }
  MPI_Bcast(buffer, (int)bytes, MPI_BYTE, root, MPI_COMM_WORLD);
  long wrong = content_wrong(buffer, bytes, key);
  if (wrong >= 0) selftest_fail(t, "bcast from %d: byte %ld of %ld is wrong", root, wrong, bytes);
}

static void check_allreduce(struct selftest* t, int64_t* mine, int64_t* all, int count) {
  for (int i = 0; i < count; i++) mine[i] = part(t, t->rank, i);
  if (t->corrupt && t->rank == 0 && t->iteration >= t->corrupt) mine[0]++;
  MPI_Allreduce(mine, all, count, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  for (int i = 0; i < count; i++) {
    int64_t sum = 0;
    for (int rank = 0; rank < t->ranks; rank++) sum += part(t, rank, i);
    if (all[i] != sum) selftest_fail(t, "allreduce: element %d of %d is wrong", i, count);
  }
}

static void check_scan(struct selftest* t, int64_t* mine, int64_t* all, int count) {
  for (int i = 0; i < count; i++) mine[i] = part(t, t->rank, i);
  MPI_Scan(mine, all, count, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
  for (int i = 0; i < count; i++) {
    int64_t largest = 0;
    for (int rank = 0; rank <= t->rank; rank++)
      if (part(t, rank, i) > largest) largest = part(t, rank, i);
    if (all[i] != largest) selftest_fail(t, "scan: element %d of %d is wrong", i, count);
  }
}

static void check_gather(struct selftest* t, int root, int64_t* mine, int64_t* all, int count) {
  for (int i = 0; i < count; i++) mine[i] = part(t, t->rank, i);
  MPI_Gather(mine, count, MPI_INT64_T, all, count, MPI_INT64_T, root, MPI_COMM_WORLD);
  if (t->rank != root) return;
  for (int rank = 0; rank < t->ranks; rank++)
    for (int i = 0; i < count; i++)
      if (all[rank * count + i] != part(t, rank, i)) selftest_fail(t, "gather at %d: rank %d's part is wrong", root, rank);
}

static void check_scatter(struct selftest* t, int root, int64_t* mine, int64_t* all, int count) {
  if (t->rank == root)
    for (int rank = 0; rank < t->ranks; rank++)
      for (int i = 0; i < count; i++) all[rank * count + i] = part(t, rank, i);
  MPI_Scatter(all, count, MPI_INT64_T, mine, count, MPI_INT64_T, root, MPI_COMM_WORLD);
  for (int i = 0; i < count; i++)
    if (mine[i] != part(t, t->rank, i)) selftest_fail(t, "scatter from %d: element %d is wrong", root, i);
}

int main(int argc, char** argv) {
  struct selftest t;
  selftest_begin(&t, "collectives", &argc, &argv);
  const int most = (int)(t.size / 64) + 1;
  unsigned char* buffer = malloc((size_t)t.size + 8);
  int64_t* mine = malloc((size_t)most * sizeof *mine);
  int64_t* all = malloc((size_t)t.ranks * (size_t)most * sizeof *all);

  while (selftest_goes_on(&t)) {
    int root = (int)(t.iteration % t.ranks);
    /* Short ones often, long ones now and then: MPICH takes other algorithms for them. */
    int count = t.iteration % 8 == 0 ? most : (int)(t.iteration % 61) + 1;
    if (count > most) count = most;
    check_bcast(&t, root, buffer);
    check_allreduce(&t, mine, all, count);
    check_scan(&t, mine, all, count);
    check_gather(&t, root, mine, all, count);
    check_scatter(&t, root, mine, all, count);
  }

  free(buffer);
  free(mine);
  free(all);
  return selftest_end(&t, "operations=%ld", 5 * (t.iteration - 1));
}
