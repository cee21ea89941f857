/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * What the self-checking MPI programs have in common. The recipe:
 *
 *   struct selftest t;
 *   selftest_begin(&t, "ring", &argc, &argv);       MPI_Init, options, "ring: running on N ranks"
 *   while (selftest_goes_on(&t)) { ... selftest_fail(&t, "what is wrong"); ... t.iteration counts }
 *   return selftest_end(&t, "bytes=%ld", bytes);    "ring: OK ..." or "ring: FAILED ...", MPI_Finalize
 *
 * Options: --seconds S, --iterations N, --stop-file F (ends when F exists), --seed K, --size BYTES (largest message),
 * --corrupt N (spoils what rank 0 sends in round N: a test that the checks can fail). With none of the first three: 5 s.
 * What is left of the command line is the program's own.
 *
 * All ranks leave the loop in the same round: rank 0 looks at the clock and for the file, and what it decides and what
 * anybody found wrong is agreed on with one MPI_Allreduce every t.agree_every rounds.
 */
#ifndef MSOCKET_SELFTEST_H
#define MSOCKET_SELFTEST_H

#include <mpi.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct selftest {
  const char* name;
  int rank, ranks;
  double seconds;         /* 0: no limit */
  long iterations;        /* 0: no limit */
  const char* stop_file;  /* NULL: none */
  int unlimited;          /* the command line said none of the three, 5 s were assumed */
  uint64_t seed;
  long size;              /* the largest message, bytes */
  long corrupt;           /* spoil what rank 0 sends in this round; 0: never */
  long agree_every;       /* rounds between agreements */
  long iteration;         /* the round that runs, from 1 */
  double start;
  int failed;
  char why[160];
};

static const char* selftest_name_ = "?";

/* An error that MPI reports (a lost connection, a message of the wrong size) is a failure as well. */
static void selftest_mpi_error_(MPI_Comm* comm, int* code, ...) {
  char text[MPI_MAX_ERROR_STRING];
  int length, rank;
  MPI_Comm_rank(*comm, &rank);
  MPI_Error_string(*code, text, &length);
  printf("%s: FAILED rank %d: %s\n", selftest_name_, rank, text);
  fflush(stdout);
  MPI_Abort(MPI_COMM_WORLD, 1);
}

/* The value of option `name`, which is removed from the command line with it; NULL when it is not there. */
static inline const char* selftest_option(int* argc, char*** argv, const char* name) {
  for (int i = 1; i + 1 < *argc; i++) {
    if (strcmp((*argv)[i], name) != 0) continue;
    const char* value = (*argv)[i + 1];
    for (int k = i; k + 2 <= *argc; k++) (*argv)[k] = (*argv)[k + 2]; /* the NULL at the end too */
    *argc -= 2;
    return value;
  }
  return NULL;
}

static inline long selftest_long(int* argc, char*** argv, const char* name, long otherwise) {
  const char* value = selftest_option(argc, argv, name);
  return value ? atol(value) : otherwise;
}

static inline void selftest_begin(struct selftest* t, const char* name, int* argc, char*** argv) {
  memset(t, 0, sizeof *t);
  t->name = selftest_name_ = name;
  int begun;
  MPI_Initialized(&begun);
  if (!begun) MPI_Init(argc, argv); /* else by MPI_Init_thread */
  MPI_Comm_rank(MPI_COMM_WORLD, &t->rank);
  MPI_Comm_size(MPI_COMM_WORLD, &t->ranks);
  MPI_Errhandler handler;
  MPI_Comm_create_errhandler(selftest_mpi_error_, &handler);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, handler);

  const char* seconds = selftest_option(argc, argv, "--seconds");
  t->seconds = seconds ? atof(seconds) : 0;
  t->iterations = selftest_long(argc, argv, "--iterations", 0);
  t->stop_file = selftest_option(argc, argv, "--stop-file");
  t->seed = (uint64_t)selftest_long(argc, argv, "--seed", 1);
  t->size = selftest_long(argc, argv, "--size", 65536);
  t->corrupt = selftest_long(argc, argv, "--corrupt", 0);
  t->agree_every = 1;
  t->unlimited = t->seconds <= 0 && t->iterations <= 0 && !t->stop_file;
  if (t->unlimited) t->seconds = 5;
  MPI_Barrier(MPI_COMM_WORLD);
  t->start = MPI_Wtime();
  if (t->rank == 0) {
    printf("%s: running on %d ranks\n", name, t->ranks);
    fflush(stdout);
  }
}

static inline void selftest_fail(struct selftest* t, const char* format, ...) {
  if (t->failed++) return; /* what follows is mostly a consequence of the first */
  va_list args;
  va_start(args, format);
  vsnprintf(t->why, sizeof t->why, format, args);
  va_end(args);
  fprintf(stderr, "%s: rank %d, round %ld: %s\n", t->name, t->rank, t->iteration, t->why);
}

/* Collective. True while the next round is to be made. */
static inline int selftest_goes_on(struct selftest* t) {
  long done = t->iteration++;
  if (t->iterations > 0 && done >= t->iterations) return 0;
  if (done % t->agree_every != 0) return 1;
  int mine = t->failed > 0, any;
  if (t->rank == 0) {
    if (t->seconds > 0 && MPI_Wtime() - t->start >= t->seconds) mine = 1;
    if (t->stop_file && access(t->stop_file, F_OK) == 0) mine = 1;
  }
  MPI_Allreduce(&mine, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  return !any;
}

/* Collective, the program's last call. Returns its exit status. */
static inline int selftest_end(struct selftest* t, const char* format, ...) {
  int mine = t->failed ? t->rank : t->ranks, first;
  MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  if (first < t->ranks) {
    MPI_Bcast(t->why, sizeof t->why, MPI_CHAR, first, MPI_COMM_WORLD);
    if (t->rank == 0) printf("%s: FAILED rank %d: %s\n", t->name, first, t->why);
  } else if (t->rank == 0) {
    printf("%s: OK ranks=%d rounds=%ld seconds=%.1f ", t->name, t->ranks, t->iteration - 1, MPI_Wtime() - t->start);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
  }
  fflush(stdout);
  MPI_Finalize();
  return first < t->ranks;
}

/* ---- content that both ends can compute */

static inline uint64_t mix(uint64_t x) { /* splitmix64 */
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/* One number for who sends what to whom and when. */
static inline uint64_t content_key(const struct selftest* t, long round, int from, int to) {
  return mix(mix(mix(t->seed ^ (uint64_t)round << 20) + (uint64_t)from) + (uint64_t)to);
}

/* Sizes as programs have them: often nothing or little, sometimes much. */
static inline long content_size(uint64_t key, long largest) {
  uint64_t r = mix(~key);
  switch (r & 7) {
    case 0: return 0;
    case 1: return (long)((r >> 8) % 8) + 1;
    case 2: case 3: case 4: return (long)((r >> 8) % (uint64_t)(largest / 16 + 1));
    default: return (long)((r >> 8) % (uint64_t)(largest + 1));
  }
}

static inline void content_fill(unsigned char* buffer, long bytes, uint64_t key) {
  for (long i = 0; i < bytes; i += 8) {
    uint64_t word = mix(key + (uint64_t)i);
    memcpy(buffer + i, &word, (size_t)(bytes - i < 8 ? bytes - i : 8));
  }
}

/* The first byte that differs; -1: none does. */
static inline long content_wrong(const unsigned char* buffer, long bytes, uint64_t key) {
  for (long i = 0; i < bytes; i += 8) {
    uint64_t word = mix(key + (uint64_t)i);
    size_t n = (size_t)(bytes - i < 8 ? bytes - i : 8);
    if (memcmp(buffer + i, &word, n) == 0) continue;
    unsigned char right[8];
    memcpy(right, &word, 8);
    for (size_t k = 0; k < n; k++)
      if (buffer[i + (long)k] != right[k]) return i + (long)k;
  }
  return -1;
}

/* Called by who sends, after filling: spoils a byte when the command line asks for it. */
static inline void content_spoil(const struct selftest* t, unsigned char* buffer, long bytes) {
  if (t->corrupt && t->rank == 0 && t->iteration >= t->corrupt && bytes > 0) buffer[bytes / 2] ^= 1;
}

#endif
