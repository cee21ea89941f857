/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * What tests/mpiexec_test runs, one thing per name:
 *
 *   where                 every rank prints "rank R of N in CWD: TEST_A=... TEST_B=..." and its further words
 *   exit STATUS           the last rank ends with that status, after MPI_Finalize
 *   last-words STATUS     the same, and it says something before
 *   abort STATUS          rank 1 calls MPI_Abort, the others wait for a message that never comes
 *   segv                  rank 1 crashes, the others wait
 *   wait                  all wait in MPI_Recv until somebody ends them
 *   lines N USECONDS      each rank prints N/ranks lines "out RANK I" and "err RANK I", with pauses
 *   sum                   rank 0 reads its input to the end, prints "sum BYTES HASH" (FNV-1a, 64 bits)
 *   spawn N STOP          starts N children with MPI_Comm_spawn and exchanges messages with them until STOP exists
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int rank, ranks;

static void wait_forever(void) {
  int nothing;
  MPI_Recv(&nothing, 1, MPI_INT, MPI_ANY_SOURCE, 99, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void where(int argc, char** argv) {
  char cwd[4096], line[8192];
  const char *a = getenv("TEST_A"), *b = getenv("TEST_B");
  int length = snprintf(line, sizeof line, "rank %d of %d in %s: TEST_A=%s TEST_B=%s", rank, ranks,
                        getcwd(cwd, sizeof cwd), a ? a : "-", b ? b : "-");
  for (int i = 2; i < argc; i++)
    length += snprintf(line + length, sizeof line - (size_t)length, " [%s]", argv[i]);
  snprintf(line + length, sizeof line - (size_t)length, "\n");
  fputs(line, stdout); /* at once: standard output is not buffered here */
}

static void lines(long total, useconds_t pause) {
  MPI_Barrier(MPI_COMM_WORLD);
  for (long i = 0; i < total / ranks; i++) {
    printf("out %d %ld\n", rank, i);
    fprintf(stderr, "err %d %ld\n", rank, i);
    if (i % 16 == 15) fflush(stdout), usleep(pause);
  }
}

static void sum(void) {
  uint64_t hash = 14695981039346656037u;
  long bytes = 0;
  unsigned char buffer[1000];
  for (ssize_t got; rank == 0 && (got = read(0, buffer, sizeof buffer)) > 0; bytes += got)
    for (ssize_t i = 0; i < got; i++) hash = (hash ^ buffer[i]) * 1099511628211u;
  if (rank == 0) printf("sum %ld %016lx\n", bytes, (unsigned long)hash);
  MPI_Barrier(MPI_COMM_WORLD);
}

/* Parent 0 counts with each child in turn; a child answers what it gets plus one, -1 ends it. */
static int spawn(const char* program, int count, const char* stop) {
  MPI_Comm children;
  char* words[] = {"child", NULL};
  int *errors = calloc((size_t)count, sizeof *errors), wrong = 0;
  long rounds = 0;
  MPI_Comm_spawn(program, words, count, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &children, errors);
  if (rank == 0) printf("spawned\n"), fflush(stdout);
  if (rank == 0) {
    for (long value = 0; access(stop, F_OK) != 0; rounds++) {
      int to = (int)(rounds % count);
      long answer;
      MPI_Sendrecv(&value, 1, MPI_LONG, to, 1, &answer, 1, MPI_LONG, to, 1, children, MPI_STATUS_IGNORE);
      if (answer != value + 1) wrong++;
      value = answer;
      usleep(500);
    }
    long end = -1;
    for (int to = 0; to < count; to++) MPI_Send(&end, 1, MPI_LONG, to, 1, children);
    printf("spawn: %s rounds=%ld\n", wrong ? "FAILED" : "OK", rounds);
  }
  MPI_Comm_disconnect(&children);
  return wrong != 0;
}

static void child(MPI_Comm parent) {
  for (;;) {
    long value;
    MPI_Recv(&value, 1, MPI_LONG, 0, 1, parent, MPI_STATUS_IGNORE);
    if (value < 0) break;
    value++;
    MPI_Send(&value, 1, MPI_LONG, 0, 1, parent);
  }
  MPI_Comm_disconnect(&parent);
}

int main(int argc, char** argv) {
  int status = 0;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  MPI_Comm parent;
  MPI_Comm_get_parent(&parent);
  const char *what = argc > 1 ? argv[1] : "", *first = argc > 2 ? argv[2] : "0", *second = argc > 3 ? argv[3] : "0";
  if (parent != MPI_COMM_NULL) child(parent);
  else if (!strcmp(what, "where")) where(argc, argv);
  else if (!strcmp(what, "exit")) status = rank == ranks - 1 ? atoi(first) : 0;
  else if (!strcmp(what, "lines")) lines(atol(first), (useconds_t)atoi(second));
  else if (!strcmp(what, "sum")) sum();
  else if (!strcmp(what, "spawn")) status = spawn(argv[0], atoi(first), second);
  else {
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) printf("waits\n"), fflush(stdout);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 1 && !strcmp(what, "last-words")) fprintf(stderr, "last words\n"), MPI_Abort(MPI_COMM_WORLD, atoi(first));
    if (rank == 1 && !strcmp(what, "abort")) MPI_Abort(MPI_COMM_WORLD, atoi(first));
    if (rank == 1 && !strcmp(what, "segv")) *(volatile int*)8 = 1;
    wait_forever();
  }
  MPI_Finalize();
  return status;
}
