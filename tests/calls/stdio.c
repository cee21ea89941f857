/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * stdio over a connection: one stream for both directions, or one for each.
 */
#include "calls.h"

void mode_stdio(enum role role) {
  static char line[70000], expected[70000];
  if (role == SERVER) {
    int fd = accept_from(listen_here(1));
    FILE *in = fdopen(dup(fd), "r"), *out = fdopen(fd, "w");
    MUST(in && out && fileno(out) == fd && fileno(in) != fd);
    while (fgets(line, sizeof line, in)) {
      MUST(fprintf(out, "%s", line) == (int)strlen(line));
      if (dice(2)) MUST(fflush(out) == 0);
      else MUST(fputs("", out) >= 0 && fflush(NULL) == 0);
      progress();
    }
    MUST(feof(in) && !ferror(in));
    MUST(fclose(in) == 0 && fclose(out) == 0);
    return;
  }
  int fd = connect_there();
  FILE* both = fdopen(fd, "r+");
  MUST(both && fileno(both) == fd);
  ready();
  for (unsigned number = 0; !stopping(); ++number) {
    size_t size = dice(3) ? dice(200) : dice(60000);
    int head = snprintf(expected, sizeof expected, "line %u ", number);
    for (size_t i = 0; i < size; ++i) expected[(size_t)head + i] = (char)('a' + pattern(number, i) % 26);
    memcpy(expected + head + size, "\n", 2);
    if (dice(2)) {
      MUST(fprintf(both, "line %u %s", number, expected + head) == head + (int)size + 1);
      MUST(fflush(both) == 0);
    } else {
      MUST(dprintf(fd, "%s", expected) == head + (int)size + 1);
    }
    MUST(fgets(line, sizeof line, both));
    if (strcmp(line, expected)) die("line %u comes back otherwise", number);
    progress();
  }
  MUST(shutdown(fileno(both), SHUT_WR) == 0);
  MUST(!fgets(line, sizeof line, both) && feof(both));
  MUST(fclose(both) == 0);
  MUST(fcntl(fd, F_GETFD) < 0 && errno == EBADF);
}
