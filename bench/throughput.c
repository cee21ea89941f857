/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * One MPI rank sends to another as fast as it can, in messages of 1 byte to 1 MiB. Prints a line for each size:
 * "throughput BYTES MB_PER_SECOND". The same program runs on stock MPICH and on ours.
 *
 *   mpiexec -n 2 throughput [MESSAGES [BYTES...]]       default: 20000 (fewer for large messages)
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const long kSizes[] = {1, 32, 128, 512, 1024, 2048, 4096, 8192, 65536, 1048576};
static const long kMostBytes = 256L << 20; /* of one size */
enum { kWindow = 32 };                     /* messages between two acknowledgements */

static void stream(int rank, char* buffer, long size, long windows) {
  MPI_Request requests[kWindow];
  MPI_Status statuses[kWindow];
  for (long w = 0; w < windows; w++) {
    for (int i = 0; i < kWindow; i++) {
      if (rank == 0) MPI_Isend(buffer, (int)size, MPI_BYTE, 1, 1, MPI_COMM_WORLD, &requests[i]);
      else MPI_Irecv(buffer + i * size, (int)size, MPI_BYTE, 0, 1, MPI_COMM_WORLD, &requests[i]);
    }
    MPI_Waitall(kWindow, requests, statuses);
  }
  /* All of it has arrived. */
  if (rank == 0) MPI_Recv(buffer, 0, MPI_BYTE, 1, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  else MPI_Send(buffer, 0, MPI_BYTE, 0, 2, MPI_COMM_WORLD);
}

static void measure(int rank, long size, long messages) {
  if (messages * size > kMostBytes) messages = kMostBytes / size;
  long windows = messages / kWindow > 0 ? messages / kWindow : 1;
  char* buffer = malloc((size_t)size * kWindow);
  memset(buffer, 1, (size_t)size * kWindow);
  stream(rank, buffer, size, windows / 10 + 1);
  MPI_Barrier(MPI_COMM_WORLD);
  double start = MPI_Wtime();
  stream(rank, buffer, size, windows);
  double seconds = MPI_Wtime() - start;
  if (rank == 0) {
    printf("throughput %ld %.4f\n", size, 1e-6 * (double)(size * windows * kWindow) / seconds);
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
    if (rank == 0) fprintf(stderr, "throughput: two ranks, please\n");
    MPI_Finalize();
    return 1;
  }
  long messages = argc > 1 ? atol(argv[1]) : 20000;
  if (argc > 2) {
    for (int i = 2; i < argc; i++) measure(rank, atol(argv[i]), messages);
  } else {
    for (size_t i = 0; i < sizeof kSizes / sizeof *kSizes; i++) measure(rank, kSizes[i], messages);
  }
  MPI_Finalize();
  return 0;
}
