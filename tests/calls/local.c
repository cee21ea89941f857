/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * What a process has for itself: a deleted temporary file and a private mapping of it, pipes with something in them,
 * eventfds. And sockets that are not of the virtual network.
 */
#include "calls.h"

enum { SIZE = 300000 };

static void check_file(int fd, const unsigned char* mapped, off_t at) {
  static unsigned char bytes[SIZE];
  struct stat st;
  MUST(fstat(fd, &st) == 0 && st.st_size == SIZE && st.st_nlink == 0);
  MUST(lseek(fd, 0, SEEK_CUR) == at);
  MUST(pread(fd, bytes, SIZE, 0) == SIZE);
  check(bytes, SIZE, 3, 0);
  MUST(mapped[5000] == 'm');
  check(mapped + 5001, SIZE - 5001, 3, 5001);
}

void mode_local(enum role role) {
  static unsigned char bytes[SIZE];
  char name[] = "/tmp/ms_calls-XXXXXX";
  int file = mkstemp(name), pipes[2][2], counter = eventfd(0, EFD_NONBLOCK), semaphore = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK);
  int fragments = 0;
  uint64_t value;
  (void)role;
  MUST(file >= 0 && unlink(name) == 0);
  fill(bytes, SIZE, 3, 0);
  write_all(file, bytes, SIZE);
  unsigned char* mapped = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
  MUST(mapped != MAP_FAILED);
  mapped[5000] = 'm'; /* this page is the process's own, the others are the file's */
  for (int i = 0; i < 2; ++i) MUST(pipe2(pipes[i], i ? O_NONBLOCK : 0) == 0);
  MUST(counter >= 0 && semaphore >= 0);
  int copy = dup(pipes[0][1]), counter_copy = dup(counter);
  MUST(copy >= 0 && counter_copy >= 0);
  fill(bytes, SIZE, 4, 0);
  write_all(pipes[0][1], bytes, 20000);
  value = 5;
  MUST(write(counter, &value, 8) == 8 && write(semaphore, &value, 8) == 8);
  ready();
  for (off_t at = 0; !stopping(); at = (at + 977) % SIZE) {
    MUST(lseek(file, at, SEEK_SET) == at);
    /* here, most likely, it moves */
    poll(NULL, 0, (int)dice(4));
    check_file(file, mapped, at);
    read_all(pipes[0][0], bytes, 1000);
    check(bytes, 1000, 4, (uint64_t)fragments * 1000);
    fragments = (fragments + 1) % 20;
    if (fragments == 0) {
      fill(bytes, SIZE, 4, 0);
      write_all(copy, bytes, 20000);
    }
    MUST(read(pipes[1][0], bytes, 1) < 0 && errno == EAGAIN);
    MUST(read(counter, &value, 8) == 8 && value == 5);
    MUST(read(counter_copy, &value, 8) < 0 && errno == EAGAIN);
    value = 5;
    MUST(write(counter_copy, &value, 8) == 8);
    MUST(read(semaphore, &value, 8) == 8 && value == 1);
    MUST(write(semaphore, &value, 8) == 8);
    progress();
  }
  for (int i = 0; i < 5; ++i) MUST(read(semaphore, &value, 8) == 8 && value == 1);
  MUST(read(semaphore, &value, 8) < 0 && errno == EAGAIN);
}

/* A connection of the program to itself over loopback, which nobody redirects: it works, and keeps the program where it is. */
void mode_plain(enum role role) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof at;
  int listener = socket(AF_INET, SOCK_STREAM, 0), to = socket(AF_INET, SOCK_STREAM, 0), from, pair[2];
  (void)role;
  MUST(bind(listener, (struct sockaddr*)&at, sizeof at) == 0 && listen(listener, 1) == 0);
  MUST(getsockname(listener, (struct sockaddr*)&at, &length) == 0 && at.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
  MUST(connect(to, (struct sockaddr*)&at, sizeof at) == 0);
  from = accept_from(listener);
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  FILE *in = fdopen(from, "r"), *out = fdopen(to, "w");
  MUST(in && out);
  ready();
  while (!stopping()) {
    char line[100];
    unsigned number;
    struct pollfd p = {from, POLLIN, 0};
    MUST(poll(&p, 1, 0) == 0);
    MUST(fprintf(out, "number %ld\n", (long)dice(1000)) > 0 && fflush(out) == 0);
    MUST(poll(&p, 1, -1) == 1 && p.revents == POLLIN);
    MUST(fgets(line, sizeof line, in) && sscanf(line, "number %u", &number) == 1);
    MUST(write(pair[0], line, 5) == 5 && read(pair[1], line, 5) == 5);
    if (number % 100 == 0) { /* other programs are started as ever */
      FILE* other = popen("echo from elsewhere", "r");
      MUST(other && fgets(line, sizeof line, other) && strcmp(line, "from elsewhere\n") == 0 && pclose(other) == 0);
    }
    progress();
  }
}
