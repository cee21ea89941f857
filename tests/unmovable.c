/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * An MPI program whose rank 0 has what cannot be carried to another node: unmovable socket|child|nothing
 * STOP. It lets it go when the file STOP.free exists, and ends when STOP does.
 */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[4200];

static int exists(const char* stop, const char* end) {
  snprintf(path, sizeof path, "%s%s", stop, end);
  return access(path, F_OK) == 0;
}

int main(int argc, char** argv) {
  int rank, fd = -1, held = 0, done = 0;
  pid_t child = -1;
  const char *what = argc > 1 ? argv[1] : "", *stop = argc > 2 ? argv[2] : "";
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0) {
    /* Not through libmsocket, which would make a socket of its own of it */
    if (!strcmp(what, "socket")) held = (fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0)) >= 0;
    if (!strcmp(what, "child")) {
      child = fork();
      if (child == 0) {
        pause();
        _exit(0);
      }
      held = child > 0;
    }
    if (!held) MPI_Abort(MPI_COMM_WORLD, 1);
    printf("holds: %s\n", what);
    fflush(stdout);
  }
  while (!done) {
    if (rank == 0 && held && exists(stop, ".free")) {
      if (fd >= 0) close(fd);
      if (child > 0) kill(child, SIGKILL), waitpid(child, NULL, 0);
      held = 0;
      printf("free\n");
      fflush(stdout);
    }
    if (rank == 0) done = exists(stop, "");
    MPI_Bcast(&done, 1, MPI_INT, 0, MPI_COMM_WORLD);
    usleep(1000);
  }
  if (rank == 0) printf("done\n");
  MPI_Finalize();
  return 0;
}
