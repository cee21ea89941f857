/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * A program that checks itself while it is moved about: one mode for each group of calls, two roles.
 *
 *   ms_calls MODE server|client ADDRESS PORT STOP
 *
 * The server listens, the client connects to ADDRESS; both go on until the file STOP is there. Output: "ready", then lines
 * "round N" that only grow when everything was right until then, at the end "OK". It also runs on plain sockets.
 */
#include "calls.h"

const char *mode, *role_name;
const char* server_address;
int server_port;
const char *program_path, *stop_path;
int exec_count;
char** exec_words;
static volatile long rounds;

void die(const char* format, ...) {
  char text[400];
  int error = errno;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  printf("FAILED %s %s (process %d): %s: %s\n", mode, role_name, (int)getpid(), text, strerror(error));
  fflush(stdout);
  _exit(1);
}

int client_ended(int now) {
  char path[4096];
  snprintf(path, sizeof path, "%s.client", stop_path);
  if (now) MUST(close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) == 0);
  return access(path, F_OK) == 0;
}

int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

void ready(void) { printf("ready\n"); }

void progress(void) {
  static int64_t said;
  int64_t now = now_us();
  long count = __atomic_add_fetch(&rounds, 1, __ATOMIC_RELAXED);
  if (now < said + 20000) return;
  said = now;
  printf("round %ld\n", count);
}

int stopping(void) { return access(stop_path, F_OK) == 0; }

unsigned dice(unsigned below) {
  static _Thread_local unsigned state;
  if (!state) state = (unsigned)now_us() | 1;
  state = state * 1664525u + 1013904223u;
  return (state >> 8) % below;
}

unsigned char pattern(unsigned seed, uint64_t at) {
  if (at == 0) return (unsigned char)seed;
  return (unsigned char)((at * 2654435761u >> 13) ^ (at >> 9) ^ seed * 31);
}

void fill(unsigned char* to, size_t size, unsigned seed, uint64_t at) {
  for (size_t i = 0; i < size; ++i) to[i] = pattern(seed, at + i);
}

void check(const unsigned char* bytes, size_t size, unsigned seed, uint64_t at) {
  for (size_t i = 0; i < size; ++i)
    if (bytes[i] != pattern(seed, at + i))
      die("stream %u: byte %llu is %u instead of %u", seed, (unsigned long long)(at + i), bytes[i], pattern(seed, at + i));
}

int listen_here(int backlog) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)server_port)};
  int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  MUST(fd >= 0);
  MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
  MUST(bind(fd, (struct sockaddr*)&at, sizeof at) == 0);
  MUST(listen(fd, backlog) == 0);
  ready();
  return fd;
}

/* So that a round does not wait for the peer's delayed acknowledgement. */
static void no_delay(int fd) {
  int one = 1;
  MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
}

int accept_from(int listener) {
  int fd = accept(listener, NULL, NULL);
  MUST(fd >= 0);
  no_delay(fd);
  return fd;
}

int connect_there(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)server_port)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  MUST(fd >= 0);
  MUST(inet_pton(AF_INET, server_address, &to.sin_addr) == 1);
  MUST(connect(fd, (struct sockaddr*)&to, sizeof to) == 0);
  no_delay(fd);
  return fd;
}

void read_all(int fd, void* to, size_t size) {
  for (size_t have = 0; have < size;) {
    ssize_t n = read(fd, (char*)to + have, size - have);
    if (n <= 0) die("read of descriptor %d gives %zd after %zu of %zu bytes", fd, n, have, size);
    have += (size_t)n;
  }
}

void write_all(int fd, const void* from, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t n = write(fd, (const char*)from + done, size - done);
    if (n <= 0) die("write to descriptor %d gives %zd after %zu of %zu bytes", fd, n, done, size);
    done += (size_t)n;
  }
}

void set_nonblocking(int fd, int on) { MUST(ioctl(fd, FIONBIO, &on) == 0); }

static _Thread_local unsigned char out[1 << 16], in[1 << 16];

void echo_round(int fd, size_t size) {
  unsigned seed = dice(256);
  MUST(size <= sizeof out);
  fill(out, size, seed, 0);
  write_all(fd, out, size);
  read_all(fd, in, size);
  check(in, size, seed, 0);
}

uint64_t echo_until_end(int fd) {
  uint64_t bytes = 0;
  for (;;) {
    ssize_t n = read(fd, in, sizeof in);
    MUST(n >= 0);
    if (n == 0) break;
    write_all(fd, in, (size_t)n);
    bytes += (uint64_t)n;
    progress();
  }
  MUST(close(fd) == 0);
  return bytes;
}

void serve_by_poll(int listener, void (*each)(int some_connection)) {
  struct pollfd fds[32] = {{listener, POLLIN, 0}};
  int count = 1, ever = 0, accepts = -1;
  socklen_t length = sizeof accepts;
  while (count > 1 || !ever || !stopping()) {
    MUST(poll(fds, (nfds_t)count, 200) >= 0);
    for (int i = count - 1; i > 0; --i) {
      if (!fds[i].revents) continue;
      ssize_t n = read(fds[i].fd, in, 8192);
      MUST(n >= 0);
      if (n > 0 && send(fds[i].fd, in, (size_t)n, MSG_NOSIGNAL) == n) continue;
      MUST(close(fds[i].fd) == 0);
      fds[i] = fds[--count];
    }
    MUST(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &length) == 0 && accepts == 1);
    if (each && count > 1) each(fds[1].fd);
    if (fds[0].revents) {
      MUST(count < 32);
      fds[count++] = (struct pollfd){accept_from(listener), POLLIN, 0};
      ++ever;
    }
    progress();
  }
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    void (*run)(enum role);
  } modes[] = {
      {"poll", mode_engine},          {"ppoll", mode_engine},          {"select", mode_engine},
      {"pselect", mode_engine},       {"epoll-level", mode_engine},    {"epoll-edge", mode_engine},
      {"epoll-oneshot", mode_engine}, {"data", mode_data},             {"numbers", mode_numbers},
      {"close-all", mode_close_all},  {"fork-each", mode_fork_each},   {"fork-split", mode_fork_split},
      {"fork-records", mode_fork_records}, {"fork-accept", mode_fork_accept}, {"threads", mode_threads},  {"stdio", mode_stdio},
      {"signals", mode_signals},      {"ipv6", mode_ipv6},             {"local", mode_local},
      {"idle", mode_idle},             {"many", mode_many},
      {"plain", mode_plain},           {"exec", mode_exec},             {"exec-child", mode_exec_child},
  };
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc < 6) {
    fprintf(stderr, "usage: ms_calls MODE server|client ADDRESS PORT STOP\n");
    return 2;
  }
  mode = argv[1];
  role_name = argv[2];
  server_address = argv[3];
  server_port = atoi(argv[4]);
  stop_path = argv[5];
  exec_words = argv + 6;
  exec_count = argc - 6;
  static char path[4096];
  MUST(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
  program_path = path;
  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; ++i) {
    if (strcmp(modes[i].name, mode)) continue;
    modes[i].run(strcmp(role_name, "server") ? CLIENT : SERVER);
    printf("round %ld\nOK\n", rounds);
    return 0;
  }
  fprintf(stderr, "ms_calls: no mode %s\n", mode);
  return 2;
}
