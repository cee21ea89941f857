/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * A token goes round the ring of ranks and grows at every hop, up to --size bytes, when it starts anew. Each rank checks
 * all of it, down to the byte, and the hop count that it carries. At any time all data is on one connection, so that a
 * rank which moves is mostly one that waits.
 */
#include "selftest.h"

enum { kHeader = 16 }; /* hop number, key of the content */

static long token_bytes(const struct selftest* t, long hop) {
  long step = t->size / 64 + 1;
  return kHeader + hop * step % (t->size + 1);
}

static void pack(const struct selftest* t, unsigned char* token, long hop) {
  uint64_t header[2] = {(uint64_t)hop, content_key(t, hop, 0, 0)};
  long bytes = token_bytes(t, hop);
  memcpy(token, header, kHeader);
  content_fill(token + kHeader, bytes - kHeader, header[1]);
  content_spoil(t, token, bytes);
}

static void check(struct selftest* t, const unsigned char* token, long got, long hop) {
  uint64_t header[2];
  if (got != token_bytes(t, hop)) {
    selftest_fail(t, "hop %ld brought %ld bytes instead of %ld", hop, got, token_bytes(t, hop));
    return;
  }
  memcpy(header, token, kHeader);
  if (header[0] != (uint64_t)hop || header[1] != content_key(t, hop, 0, 0)) {
    selftest_fail(t, "hop %ld brought the token of hop %lu", hop, (unsigned long)header[0]);
    return;
  }
  long wrong = content_wrong(token + kHeader, got - kHeader, header[1]);
  if (wrong >= 0) selftest_fail(t, "hop %ld: byte %ld of %ld is wrong", hop, kHeader + wrong, got);
}

int main(int argc, char** argv) {
  struct selftest t;
  selftest_begin(&t, "ring", &argc, &argv);
  t.agree_every = 16;
  unsigned char* token = malloc((size_t)t.size + kHeader + 8);
  const int next = (t.rank + 1) % t.ranks, previous = (t.rank + t.ranks - 1) % t.ranks;
  long hops = 0, bytes = 0;

  if (t.ranks < 2) selftest_fail(&t, "a ring takes two ranks or more");
  while (selftest_goes_on(&t)) {
    /* In a round each rank sends once: hop number (round - 1) * ranks + rank. */
    long mine = (t.iteration - 1) * t.ranks + t.rank;
    for (int turn = 0; turn < 2; turn++) {
      if ((t.rank == 0) == (turn == 0)) {
        pack(&t, token, mine);
        MPI_Send(token, (int)token_bytes(&t, mine), MPI_BYTE, next, 7, MPI_COMM_WORLD);
        bytes += token_bytes(&t, mine);
      } else {
        long hop = t.rank == 0 ? mine + t.ranks - 1 : mine - 1;
        MPI_Status status;
        int got;
        MPI_Recv(token, (int)t.size + kHeader, MPI_BYTE, previous, 7, MPI_COMM_WORLD, &status);
        MPI_Get_count(&status, MPI_BYTE, &got);
        check(&t, token, got, hop);
        hops++;
      }
    }
  }

  long mine[2] = {hops, bytes}, all[2] = {0, 0};
  MPI_Reduce(mine, all, 2, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
  if (t.rank == 0 && all[0] != (t.iteration - 1) * t.ranks && !t.failed)
    selftest_fail(&t, "%ld hops in %ld rounds of %d ranks", all[0], t.iteration - 1, t.ranks);
  free(token);
  return selftest_end(&t, "hops=%ld bytes=%ld", all[0], all[1]);
}
