/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * What the programs of tests/resources_test have in common. Each has a table of cases; on its standard input it is told what to
 * do with one: "hold CASE" sets it up, "check CASE" looks whether all of it is still there (as often as one likes), "free CASE" gives it back.
 * The answer is "ok", or "failed" with the line that found it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct test_case {
  const char* name;
  int (*hold)(void);
  int (*check)(void);
  int (*release)(void);
};

#define MUST(condition)                                                                                           \
  do {                                                                                                            \
    if (!(condition)) {                                                                                           \
      printf("failed %s:%d: %s (errno %d, %s)\n", __func__, __LINE__, #condition, errno, strerror(errno));       \
      return 0;                                                                                                   \
    }                                                                                                             \
  } while (0)

static const char* folder; /* argv[1]: for files */

static inline const char* in_folder(const char* name) {
  static char path[4200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static inline int serve(const char* who, const struct test_case* cases, int argc, char** argv) {
  char line[256];
  if (argc < 2) return 2;
  folder = argv[1];
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("%s: ready\n", who);
  while (fgets(line, sizeof line, stdin)) {
    char what[32] = "", name[64] = "";
    int (*act)(void) = NULL;
    sscanf(line, "%31s %63s", what, name);
    errno = 0;
    for (const struct test_case* c = cases; c->name; ++c) {
      if (strcmp(c->name, name)) continue;
      act = !strcmp(what, "hold") ? c->hold : !strcmp(what, "check") ? c->check : !strcmp(what, "free") ? c->release : NULL;
    }
    if (!act) printf("failed: no '%s %s'\n", what, name);
    else if (act()) printf("ok\n");
  }
  return 0;
}
