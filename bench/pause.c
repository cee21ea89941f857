/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * How long does a rank with much memory stand still when it moves? Rank 1 has --mib MiB (default 64), all of it resident,
 * writes to --dirty MiB of it a second (default 20) and talks to rank 0 all the time; somebody else moves it meanwhile.
 * The daemons measure the pause; the program prints what it felt itself, the longest time that one of its rounds of 1 ms
 * took, and checks its memory. Options of mpi-tests/selftest.h; the last line is "pause: OK ... longest_ms=...".
 */
#include "selftest.h"

enum { kPage = 4096, kWords = kPage / 8 };
static const double kRound = 1e-3; /* seconds of "work" a round */

struct memory {
  uint64_t* words;
  uint64_t* stamps; /* what the first word of each page must be */
  long pages;
};

static uint64_t filler(long page, int word) { return mix((uint64_t)page * kWords + (uint64_t)word); }

static struct memory make_memory(long mib) {
  struct memory m = {.pages = (mib << 20) / kPage};
  if (posix_memalign((void**)&m.words, kPage, (size_t)m.pages * kPage) != 0) MPI_Abort(MPI_COMM_WORLD, 1);
  m.stamps = calloc((size_t)m.pages, sizeof *m.stamps);
  for (long page = 0; page < m.pages; page++) {
    for (int word = 1; word < kWords; word++) m.words[page * kWords + word] = filler(page, word);
    m.words[page * kWords] = 0;
  }
  return m;
}

static void dirty(struct memory* m, long pages, uint64_t stamp) {
  static long next = 0;
  for (long i = 0; i < pages; i++, next = (next + 1) % m->pages) m->words[next * kWords] = m->stamps[next] = stamp;
}

static void check_memory(struct selftest* t, const struct memory* m) {
  for (long page = 0; page < m->pages; page++) {
    if (m->words[page * kWords] != m->stamps[page]) selftest_fail(t, "page %ld has an old stamp", page);
    for (int word = 1; word < kWords; word++)
      if (m->words[page * kWords + word] != filler(page, word)) selftest_fail(t, "page %ld, word %d is wrong", page, word);
  }
}

int main(int argc, char** argv) {
  struct selftest t;
  selftest_begin(&t, "pause", &argc, &argv);
  t.agree_every = 64;
  const long mib = selftest_long(&argc, &argv, "--mib", 64), dirty_mib = selftest_long(&argc, &argv, "--dirty", 20);
  const long pages = (long)((double)(dirty_mib << 20) / kPage * kRound + 0.5);
  struct memory memory = make_memory(t.rank == 1 ? mib : 1);
  MPI_Barrier(MPI_COMM_WORLD);

  double longest = 0, all;
  long word = 0;
  for (double before = MPI_Wtime(); selftest_goes_on(&t);) {
    dirty(&memory, pages, (uint64_t)t.iteration);
    while (t.rank == 1 && MPI_Wtime() - before < kRound) continue; /* the others wait in MPI */
    if (t.rank < 2 && t.ranks > 1) {
      long got = -1;
      word++;
      MPI_Sendrecv(&word, 1, MPI_LONG, 1 - t.rank, 1, &got, 1, MPI_LONG, 1 - t.rank, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      if (got != word) selftest_fail(&t, "message %ld instead of %ld", got, word);
    }
    double now = MPI_Wtime();
    if (now - before > longest) longest = now - before;
    before = now;
  }
  check_memory(&t, &memory);
  MPI_Reduce(&longest, &all, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
  free(memory.words);
  free(memory.stamps);
  return selftest_end(&t, "longest_ms=%.1f", 1e3 * all);
}
