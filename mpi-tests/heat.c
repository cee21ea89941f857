/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * The heat equation on a plate, by Jacobi's method: a grid of processes, each with a block of the plate, exchanges edges at
 * every step. The plate's upper edge is hot, the others are cold, the material conducts less where it is hot.
 *
 *   --nx N --ny N       points of the plate (default 1536 x 1536)
 *   --steps N           so many steps (default 20000: some minutes); the same as --iterations
 *   --work N            arithmetic per point and step (default 4)
 *   --report-every N    steps between progress lines, residuals and looks at --stop-file and --seconds (default 50)
 *   --out FILE          the final field as raw doubles, row by row
 *   --verify            rank 0 computes all of it again by itself and compares every bit
 *
 * The field depends on the number of steps only: not on the number of ranks, their places or the time that anything takes.
 */
#include <math.h>

#include "selftest.h"

struct block {
  MPI_Comm grid;
  int dims[2], at[2];          /* process grid, and this rank's place in it: row, column */
  int up, down, left, right;   /* neighbours, MPI_PROC_NULL at the edge */
  long rows, columns, stride;  /* own points; stride counts the two halo columns too */
  double *now, *next;          /* (rows + 2) x stride */
  MPI_Datatype column;
};

static long first_of(long points, int parts, int part) { return points * part / parts; }

/* 1 / (1 + u) by Newton's iteration: the more work, the closer. */
static inline double conductivity(double u, int work) {
  double x = 1.0 + u, y = 0.5;
  for (int i = 0; i < work; i++) y = y * (2.0 - x * y);
  return y;
}

/* One step for a block. One function for the parallel run and the check, so that both round alike. */
__attribute__((noinline)) static double step(const double* now, double* next, long rows, long columns, int work) {
  const long stride = columns + 2;
  double change = 0.0;
  for (long r = 1; r <= rows; r++) {
    const double* u = now + r * stride;
    double* v = next + r * stride;
    for (long c = 1; c <= columns; c++) {
      double flow = u[c - stride] + u[c + stride] + u[c - 1] + u[c + 1] - 4.0 * u[c];
      double d = 0.2 * conductivity(u[c], work) * flow;
      v[c] = u[c] + d;
      change = fmax(change, fabs(d));
    }
  }
  return change;
}

static double* new_field(long rows, long columns, int hot_upper_edge) {
  double* field = calloc((size_t)((rows + 2) * (columns + 2)), sizeof *field);
  if (!field) {
    fprintf(stderr, "heat: no memory for %ld x %ld points\n", columns, rows);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  for (long c = 0; hot_upper_edge && c < columns + 2; c++) field[c] = 1.0;
  return field;
}

static struct block make_block(int ranks, long nx, long ny) {
  struct block b = {.dims = {0, 0}};
  int periodic[2] = {0, 0}, rank;
  MPI_Dims_create(ranks, 2, b.dims);
  MPI_Cart_create(MPI_COMM_WORLD, 2, b.dims, periodic, 0, &b.grid);
  MPI_Comm_rank(b.grid, &rank);
  MPI_Cart_coords(b.grid, rank, 2, b.at);
  MPI_Cart_shift(b.grid, 0, 1, &b.up, &b.down);
  MPI_Cart_shift(b.grid, 1, 1, &b.left, &b.right);
  b.rows = first_of(ny, b.dims[0], b.at[0] + 1) - first_of(ny, b.dims[0], b.at[0]);
  b.columns = first_of(nx, b.dims[1], b.at[1] + 1) - first_of(nx, b.dims[1], b.at[1]);
  b.stride = b.columns + 2;
  b.now = new_field(b.rows, b.columns, b.at[0] == 0);
  b.next = new_field(b.rows, b.columns, b.at[0] == 0);
  MPI_Type_vector((int)b.rows, 1, (int)b.stride, MPI_DOUBLE, &b.column);
  MPI_Type_commit(&b.column);
  return b;
}

static void exchange_edges(const struct block* b) {
  MPI_Request requests[8];
  MPI_Status statuses[8];
  double *first = b->now + b->stride + 1, *last = b->now + b->rows * b->stride + 1;
  int n = (int)b->columns, k = 0;
  MPI_Irecv(first - b->stride, n, MPI_DOUBLE, b->up, 1, b->grid, &requests[k++]);
  MPI_Irecv(last + b->stride, n, MPI_DOUBLE, b->down, 2, b->grid, &requests[k++]);
  MPI_Irecv(first - 1, 1, b->column, b->left, 3, b->grid, &requests[k++]);
  MPI_Irecv(first + b->columns, 1, b->column, b->right, 4, b->grid, &requests[k++]);
  MPI_Isend(first, n, MPI_DOUBLE, b->up, 2, b->grid, &requests[k++]);
  MPI_Isend(last, n, MPI_DOUBLE, b->down, 1, b->grid, &requests[k++]);
  MPI_Isend(first, 1, b->column, b->left, 4, b->grid, &requests[k++]);
  MPI_Isend(first + b->columns - 1, 1, b->column, b->right, 3, b->grid, &requests[k++]);
  MPI_Waitall(k, requests, statuses);
}

/* The whole field, without halos, at rank 0; NULL elsewhere. */
static double* gather(const struct selftest* t, const struct block* b, long nx, long ny) {
  double* own = malloc((size_t)(b->rows * b->columns + 1) * sizeof *own);
  for (long r = 0; r < b->rows; r++)
    memcpy(own + r * b->columns, b->now + (r + 1) * b->stride + 1, (size_t)b->columns * sizeof *own);
  if (t->rank != 0) {
    MPI_Send(own, (int)(b->rows * b->columns), MPI_DOUBLE, 0, 5, b->grid);
    free(own);
    return NULL;
  }
  double* whole = malloc((size_t)(nx * ny) * sizeof *whole);
  double* part = malloc((size_t)(nx * ny) * sizeof *part);
  for (int rank = 0; rank < t->ranks; rank++) {
    int at[2];
    MPI_Cart_coords(b->grid, rank, 2, at);
    long row = first_of(ny, b->dims[0], at[0]), rows = first_of(ny, b->dims[0], at[0] + 1) - row;
    long column = first_of(nx, b->dims[1], at[1]), columns = first_of(nx, b->dims[1], at[1] + 1) - column;
    if (rank > 0) MPI_Recv(part, (int)(rows * columns), MPI_DOUBLE, rank, 5, b->grid, MPI_STATUS_IGNORE);
    for (long r = 0; r < rows; r++)
      memcpy(whole + (row + r) * nx + column, (rank == 0 ? own : part) + r * columns, (size_t)columns * sizeof *whole);
  }
  free(own);
  free(part);
  return whole;
}

static void verify(struct selftest* t, const double* whole, long nx, long ny, long steps, int work) {
  double *now = new_field(ny, nx, 1), *next = new_field(ny, nx, 1);
  for (long i = 0; i < steps; i++) {
    step(now, next, ny, nx, work);
    double* swap = now;
    now = next;
    next = swap;
  }
  for (long r = 0; r < ny; r++)
    if (memcmp(now + (r + 1) * (nx + 2) + 1, whole + r * nx, (size_t)nx * sizeof *now) != 0)
      selftest_fail(t, "row %ld differs from the computation of one process", r);
  free(now);
  free(next);
}

static void write_field(struct selftest* t, const char* file, const double* field, size_t points) {
  FILE* out = fopen(file, "wb");
  int ok = out && fwrite(field, sizeof *field, points, out) == points;
  if (out && fclose(out) != 0) ok = 0;
  if (!ok) selftest_fail(t, "cannot write %s", file);
}

static int flag(int* argc, char** argv, const char* name) {
  for (int i = 1; i < *argc; i++) {
    if (strcmp(argv[i], name) != 0) continue;
    memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof *argv);
    --*argc;
    return 1;
  }
  return 0;
}

int main(int argc, char** argv) {
  struct selftest t;
  selftest_begin(&t, "heat", &argc, &argv);
  const long nx = selftest_long(&argc, &argv, "--nx", 1536), ny = selftest_long(&argc, &argv, "--ny", 1536);
  const int work = (int)selftest_long(&argc, &argv, "--work", 4);
  t.iterations = selftest_long(&argc, &argv, "--steps", t.unlimited ? 20000 : t.iterations);
  if (t.unlimited) t.seconds = 0;
  t.agree_every = selftest_long(&argc, &argv, "--report-every", 50);
  const char* out = selftest_option(&argc, &argv, "--out");
  const int verified = flag(&argc, argv, "--verify");

  struct block b = make_block(t.ranks, nx, ny);
  double residual = 0.0;
  while (selftest_goes_on(&t)) {
    exchange_edges(&b);
    double change = step(b.now, b.next, b.rows, b.columns, work);
    double* swap = b.now;
    b.now = b.next;
    b.next = swap;
    if (t.iteration % t.agree_every != 0) continue;
    MPI_Allreduce(&change, &residual, 1, MPI_DOUBLE, MPI_MAX, b.grid);
    if (t.rank == 0) {
      char of[32] = "";
      if (t.iterations > 0) snprintf(of, sizeof of, " of %ld", t.iterations);
      printf("heat: step %ld%s, residual %.6e, %.1f s\n", t.iteration, of, residual, MPI_Wtime() - t.start);
      fflush(stdout);
    }
  }

  const long steps = t.iteration - 1;
  double* whole = gather(&t, &b, nx, ny);
  uint64_t checksum = 0;
  if (whole) {
    for (long i = 0; i < nx * ny; i++) {
      uint64_t bits;
      memcpy(&bits, &whole[i], sizeof bits);
      checksum = mix(checksum ^ bits);
    }
    content_spoil(&t, (unsigned char*)whole, nx * ny * 8);
    if (verified) verify(&t, whole, nx, ny, steps, work);
    if (out) write_field(&t, out, whole, (size_t)(nx * ny));
  }
  free(whole);
  free(b.now);
  free(b.next);
  MPI_Type_free(&b.column);
  MPI_Comm_free(&b.grid);
  return selftest_end(&t, "steps=%ld residual=%.6e checksum=%016lx", steps, residual, (unsigned long)checksum);
}
