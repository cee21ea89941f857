/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * MPI_Alltoallv with sizes drawn anew every round, from nothing to --size bytes. Sizes and content follow from the round,
 * the sender and the receiver, so the receiver knows every byte that has to come, and that no byte lands outside.
 */
#include "selftest.h"

enum { kGuard = 8 }; /* bytes after each block that must stay as they are */
static const unsigned char kGuardByte = 0xa5;

struct blocks {
  unsigned char* buffer;
  int* counts;
  int* places;
};

static struct blocks make_blocks(const struct selftest* t) {
  struct blocks b;
  b.buffer = malloc((size_t)t->ranks * (size_t)(t->size + kGuard));
  b.counts = malloc((size_t)t->ranks * sizeof(int));
  b.places = malloc((size_t)t->ranks * sizeof(int));
  for (int i = 0; i < t->ranks; i++) b.places[i] = (int)(i * (t->size + kGuard));
  return b;
}

static void free_blocks(struct blocks* b) {
  free(b->buffer);
  free(b->counts);
  free(b->places);
}

static void check(struct selftest* t, const struct blocks* in) {
  for (int from = 0; from < t->ranks; from++) {
    const unsigned char* block = in->buffer + in->places[from];
    long bytes = in->counts[from];
    long wrong = content_wrong(block, bytes, content_key(t, t->iteration, from, t->rank));
    if (wrong >= 0) selftest_fail(t, "round %ld, from rank %d: byte %ld of %ld is wrong", t->iteration, from, wrong, bytes);
    for (int i = 0; i < kGuard; i++)
      if (block[bytes + i] != kGuardByte) selftest_fail(t, "round %ld: rank %d wrote too much", t->iteration, from);
  }
}

int main(int argc, char** argv) {
  struct selftest t;
  selftest_begin(&t, "alltoall", &argc, &argv);
  struct blocks out = make_blocks(&t), in = make_blocks(&t);
  long bytes = 0;

  while (selftest_goes_on(&t)) {
    for (int peer = 0; peer < t.ranks; peer++) {
      uint64_t sent = content_key(&t, t.iteration, t.rank, peer), due = content_key(&t, t.iteration, peer, t.rank);
      out.counts[peer] = (int)content_size(sent, t.size);
      in.counts[peer] = (int)content_size(due, t.size);
      content_fill(out.buffer + out.places[peer], out.counts[peer], sent);
      content_spoil(&t, out.buffer + out.places[peer], out.counts[peer]);
      memset(in.buffer + in.places[peer], kGuardByte, (size_t)(in.counts[peer] + kGuard));
      bytes += out.counts[peer];
    }
    MPI_Alltoallv(out.buffer, out.counts, out.places, MPI_BYTE, in.buffer, in.counts, in.places, MPI_BYTE, MPI_COMM_WORLD);
    check(&t, &in);
  }

  long all = 0;
  MPI_Reduce(&bytes, &all, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
  free_blocks(&out);
  free_blocks(&in);
  return selftest_end(&t, "bytes=%ld", all);
}
