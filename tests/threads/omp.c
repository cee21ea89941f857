/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * omp STOP: an OpenMP program and nothing else, no MPI and no socket. Loops of every schedule, reductions, tasks, sections, locks
 * and nested teams, each with a result that is known, until the file STOP is there. Its last line is "omp: OK rounds=N".
 */
#define _GNU_SOURCE
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEAM = 4, N = 20000 };

static int numbers[TEAM];
static long thread_rounds;
#pragma omp threadprivate(thread_rounds)

static void must(int good, const char* what) {
  if (good) return;
  printf("omp: FAILED %s\n", what);
  fflush(stdout);
  _exit(1);
}

static long sum_of_tasks(int from, int to) {
  if (to - from <= 100) {
    long sum = 0;
    for (int i = from; i < to; ++i) sum += i;
    return sum;
  }
  long left, right;
  int middle = from + (to - from) / 2;
#pragma omp task shared(left)
  left = sum_of_tasks(from, middle);
#pragma omp task shared(right)
  right = sum_of_tasks(middle, to);
#pragma omp taskwait
  return left + right;
}

static void one_round(long round) {
  const long all = (long)N * (N - 1) / 2;
  long sum = 0, dynamic = 0, ordered = 0, tasks = 0, nested = 0;
  int last = -1, in_order = 1, same = 1;
#pragma omp parallel num_threads(TEAM)
  {
    int number = omp_get_thread_num(), id = gettid();
    if (round == 0) numbers[number] = id;
#pragma omp atomic
    same &= numbers[number] == id && thread_rounds == round;
    ++thread_rounds;
#pragma omp for schedule(static) reduction(+ : sum)
    for (int i = 0; i < N; ++i) sum += i;
#pragma omp for schedule(dynamic, 7) reduction(+ : dynamic)
    for (int i = 0; i < N; ++i) dynamic += i;
#pragma omp for schedule(guided) ordered
    for (int i = 0; i < 200; ++i) {
#pragma omp ordered
      {
        in_order &= i == last + 1;
        last = i;
        ordered += i;
      }
    }
#pragma omp barrier
#pragma omp single
    tasks = sum_of_tasks(0, N);
#pragma omp parallel num_threads(2)
    {
#pragma omp critical
      nested += 1;
    }
  }
  must(same, "a thread is another, or its private data is");
  must(sum == all && dynamic == all && tasks == all, "a sum");
  must(in_order && ordered == 199 * 200 / 2, "an ordered loop");
  must(nested >= TEAM && nested <= 2 * TEAM, "a nested team");
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  omp_set_dynamic(0);
  printf("omp: ready\n");
  fflush(stdout);
  long round = 0;
  for (double begun = omp_get_wtime(), now; access(argv[1], F_OK) != 0; ++round, begun = now) {
    one_round(round);
    now = omp_get_wtime();
    must(now >= begun, "omp_get_wtime goes back");
  }
  printf("omp: OK rounds=%ld\n", round);
  return 0;
}
