/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Round trips between two MPI ranks. Prints a line for each message size: "pingpong BYTES MICROSECONDS", the time of one
 * round trip. The same program runs on stock MPICH and on ours.
 *
 *   mpiexec -n 2 pingpong [ROUND_TRIPS [BYTES...]]      default: 4000 (fewer for large messages), 1 to 1 MiB
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const long kSizes[] = {1, 64, 1024, 8192, 65536, 1048576};
static const long kMostBytes = 64L << 20; /* of one size, so that no size takes minutes */

static void exchange(int rank, char* buffer, long size, long count) {
  for (long i = 0; i < count; i++) {
    if (rank == 0) {
      MPI_Send(buffer, (int)size, MPI_BYTE, 1, 1, MPI_COMM_WORLD);
      MPI_Recv(buffer, (int)size, MPI_BYTE, 1, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
      MPI_Recv(buffer, (int)size, MPI_BYTE, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      MPI_Send(buffer, (int)size, MPI_BYTE, 0, 1, MPI_COMM_WORLD);
    }
  }
}

static void measure(int rank, long size, long count) {
  if (count * size > kMostBytes) count = kMostBytes / size;
  if (count < 10) count = 10;
  char* buffer = malloc((size_t)size + 1);
  memset(buffer, 1, (size_t)size + 1);
  exchange(rank, buffer, size, count / 10 + 1);
  MPI_Barrier(MPI_COMM_WORLD);
  double start = MPI_Wtime();
  exchange(rank, buffer, size, count);
  double seconds = MPI_Wtime() - start;
  if (rank == 0) {
    printf("pingpong %ld %.3f\n", size, 1e6 * seconds / (double)count);
    fflush(stdout);
  }
  free(buffer);
}

int main(int argc, char** argv) {
  int rank, ranks;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (ranks != 2) {
    if (rank == 0) fprintf(stderr, "pingpong: two ranks, please\n");
    MPI_Finalize();
    return 1;
  }
  long count = argc > 1 ? atol(argv[1]) : 4000;
  if (argc > 2) {
    for (int i = 2; i < argc; i++) measure(rank, atol(argv[i]), count);
  } else {
    for (size_t i = 0; i < sizeof kSizes / sizeof *kSizes; i++) measure(rank, kSizes[i], count);
  }
  MPI_Finalize();
  return 0;
}
