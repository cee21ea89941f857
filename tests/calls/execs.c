/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Connections that go on in the next program: both ends exec themselves again and again, with bytes on their way, by each of
 * libc's functions for it; and a child that is given a connection and execs, as inetd's do.
 */
#include "calls.h"

enum { CHUNK = 10000, MOST = 30000 };

/* What goes from one program to the next in its arguments. */
struct state {
  long connection, listener, sent, got, turns, closed;
};

static struct state taken_over(void) {
  struct state s = {-1, -1, 0, 0, 0, -1};
  long* const fields[] = {&s.connection, &s.listener, &s.sent, &s.got, &s.turns, &s.closed};
  if (exec_count == 0) return s;
  MUST(exec_count == 6);
  for (int i = 0; i < 6; ++i) *fields[i] = atol(exec_words[i]);
  return s;
}

static _Noreturn void exec_self(struct state s) {
  char numbers[6][24], port[12], path[4096], folder[4096];
  const long values[] = {s.connection, s.listener, s.sent, s.got, s.turns + 1, s.closed};
  for (int i = 0; i < 6; ++i) snprintf(numbers[i], sizeof numbers[i], "%ld", values[i]);
  snprintf(port, sizeof port, "%d", server_port);
  snprintf(path, sizeof path, "%s", program_path);
  snprintf(folder, sizeof folder, "%s", program_path);
  char* name = strrchr(folder, '/');
  MUST(name);
  *name++ = 0;
  char *words[] = {path,        (char*)mode, (char*)role_name, (char*)server_address, port,       (char*)stop_path,
                   numbers[0],  numbers[1],  numbers[2],       numbers[3],            numbers[4], numbers[5], NULL};
  /* One that fails leaves everything as it is. */
  MUST(execv("/nonexistent/program", words) < 0 && errno == ENOENT);
  MUST(execv("/etc", words) < 0 && errno == EACCES);
  fflush(stdout);
  switch (s.turns % 7) {
    case 0: execv(path, words); break;
    case 1: execve(path, words, environ); break;
    case 2:
    case 3: {
      char* old = strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
      char search[8300];
      snprintf(search, sizeof search, "/nonexistent:%s", folder);
      MUST(setenv("PATH", search, 1) == 0);
      words[0] = name;
      if (s.turns % 7 == 2) execvp(name, words);
      else execvpe(name, words, environ);
      setenv("PATH", old, 1);
      break;
    }
    case 4:
      execl(path, path, words[1], words[2], words[3], words[4], words[5], words[6], words[7], words[8], words[9], words[10],
            words[11], (char*)NULL);
      break;
    case 5:
      execle(path, path, words[1], words[2], words[3], words[4], words[5], words[6], words[7], words[8], words[9], words[10],
             words[11], (char*)NULL, environ);
      break;
    default: fexecve(open(path, O_RDONLY), words, environ); break;
  }
  die("exec by way %ld", s.turns % 7);
}

static void look_after(const struct state* s) {
  errno = 0;
  if (s->closed >= 0 && (fcntl((int)s->closed, F_GETFD) >= 0 || errno != EBADF)) die("descriptor %ld was to be closed", s->closed);
}

/* Echoes; and accepts, for those who only look whether it does. */
static void serve(struct state s) {
  static unsigned char bytes[CHUNK];
  for (int round = 0;; ++round) {
    struct pollfd p[2] = {{(int)s.connection, POLLIN, 0}, {(int)s.listener, POLLIN, 0}};
    MUST(poll(p, 2, 5000) >= 0);
    if (p[1].revents) {
      int other = accept_from((int)s.listener);
      MUST(echo_until_end(other) % 100 == 0);
    }
    if (!p[0].revents) continue;
    ssize_t n = read((int)s.connection, bytes, 1 + dice(CHUNK));
    MUST(n >= 0);
    if (n == 0) return;
    check(bytes, (size_t)n, 1, (uint64_t)s.got);
    s.got += n;
    write_all((int)s.connection, bytes, (size_t)n);
    progress();
    if (round >= 20 && dice(10) == 0) exec_self(s);
  }
}

static void ask(struct state s) {
  static unsigned char bytes[MOST];
  for (int round = 0; !stopping() || s.got < s.sent; ++round) {
    if (!stopping() && s.sent - s.got <= MOST - CHUNK) {
      size_t size = 1 + dice(CHUNK);
      fill(bytes, size, 1, (uint64_t)s.sent);
      write_all((int)s.connection, bytes, size);
      s.sent += (long)size;
    }
    if (round >= 20 && dice(10) == 0) {  /* with bytes on their way */
      int other = connect_there();
      unsigned char word[100] = {0};
      write_all(other, word, sizeof word);
      read_all(other, word, sizeof word);
      MUST(fcntl(other, F_SETFD, FD_CLOEXEC) == 0);
      s.closed = other;
      exec_self(s);
    }
    ssize_t n = read((int)s.connection, bytes, 1 + dice(MOST));
    MUST(n > 0);
    check(bytes, (size_t)n, 1, (uint64_t)s.got);
    s.got += n;
    progress();
  }
  MUST(close((int)s.connection) == 0);
}

void mode_exec(enum role role) {
  struct state s = taken_over();
  look_after(&s);
  if (role == CLIENT) {
    if (s.connection < 0) {
      ready();
      s.connection = connect_there();
    }
    ask(s);
    return;
  }
  if (s.connection < 0) {
    s.listener = listen_here(5);
    s.connection = accept_from((int)s.listener);
  }
  serve(s);
}

void mode_exec_child(enum role role) {
  struct state s = taken_over();
  if (s.connection >= 0) {
    echo_until_end((int)s.connection);
    return;
  }
  if (role == CLIENT) {
    ready();
    s.connection = connect_there();
    while (!stopping()) {
      echo_round((int)s.connection, 1 + dice(20000));
      progress();
    }
    MUST(close((int)s.connection) == 0);
    return;
  }
  s.listener = listen_here(5);
  s.connection = accept_from((int)s.listener);
  MUST(fcntl((int)s.listener, F_SETFD, FD_CLOEXEC) == 0);
  pid_t child = fork();
  MUST(child >= 0);
  if (child == 0) exec_self(s);
  MUST(close((int)s.connection) == 0);
  int status;
  while (waitpid(child, &status, 0) < 0) MUST(errno == EINTR);
  if (!WIFEXITED(status) || WEXITSTATUS(status)) die("the child ended with status %#x", status);
}
