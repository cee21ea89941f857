/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Does with sockets what it is told on standard input, one command a line, and answers each with one line: "ok ..." or
 * "failed COMMAND ERRNO". So tests/states_test can bring a connection into a state and see that it is there, before
 * anything moves. Sockets have names of one letter. What is sent is computed from the connection's two addresses and the
 * byte's place in the stream, and what is received is compared with that: a byte lost, repeated, changed, or of another
 * connection is found.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include "sockets.h"

struct stream {
  uint64_t out_key, in_key;
  long sent, received;
};

static struct {
  int fd;
  struct stream* stream; /* shared by the copies of a descriptor */
} sockets[128];

static unsigned char buffer[1 << 18];
static char* words[8];

static int fd_of(int word) { return sockets[words[word][0] & 127].fd; }
static long number(int word) { return words[word] ? atol(words[word]) : 0; }

static void put(int word, int fd, struct stream* stream) {
  sockets[words[word][0] & 127].fd = fd;
  sockets[words[word][0] & 127].stream = stream ? stream : calloc(1, sizeof *stream);
}

static void failed(void) { printf("failed %s %s\n", words[0], strerrorname_np(errno)); }
static void done(int result) {
  if (result < 0) failed();
  else printf("ok %d\n", result);
}

static uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static uint64_t key_of(const struct sockaddr_in* from, const struct sockaddr_in* to) {
  return mix(((uint64_t)from->sin_addr.s_addr << 16 | from->sin_port) ^ mix((uint64_t)to->sin_addr.s_addr << 16 | to->sin_port));
}

static unsigned char byte_at(uint64_t key, long at) { return (unsigned char)(mix(key + (uint64_t)(at >> 3)) >> (8 * (at & 7))); }

/* The stream of a connected socket: the keys are known from the first use on. */
static struct stream* stream_of(int word) {
  struct stream* s = sockets[words[word][0] & 127].stream;
  struct sockaddr_in here, there;
  socklen_t length = sizeof here, length2 = sizeof there;
  if (!s->out_key && ms_getsockname(fd_of(word), (struct sockaddr*)&here, &length) == 0 &&
      ms_getpeername(fd_of(word), (struct sockaddr*)&there, &length2) == 0) {
    s->out_key = key_of(&here, &there);
    s->in_key = key_of(&there, &here);
  }
  return s;
}

static int compare(struct stream* s, const unsigned char* data, ssize_t size) {
  for (ssize_t i = 0; i < size; i++, s->received++) {
    if (data[i] == byte_at(s->in_key, s->received)) continue;
    printf("failed %s: byte %ld is wrong\n", words[0], s->received);
    return 0;
  }
  return 1;
}

static void print_address(int (*get)(int, struct sockaddr*, socklen_t*), int fd) {
  struct sockaddr_in a;
  socklen_t length = sizeof a;
  if (get(fd, (struct sockaddr*)&a, &length) == 0) printf(" %s:%d", inet_ntoa(a.sin_addr), ntohs(a.sin_port));
  else printf(" %s", strerrorname_np(errno));
}

/* ---- how sockets come and go */

static void do_socket(void) {
  int fd = ms_socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return failed();
  put(1, fd, NULL);
  printf("ok %d\n", fd);
}

static void do_listen(void) { /* NAME PORT */
  put(1, listen_on((int)number(2)), NULL);
  printf("ok %d\n", fd_of(1));
}

static void do_accept(void) { /* LISTENER NAME */
  struct sockaddr_in from = {0};
  socklen_t length = sizeof from;
  int fd = ms_accept(fd_of(1), (struct sockaddr*)&from, &length);
  if (fd < 0) return failed();
  put(2, fd, NULL);
  printf("ok %d %s:%d\n", fd, inet_ntoa(from.sin_addr), ntohs(from.sin_port));
}

static void do_connect(void) { /* NAME IP PORT */
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)number(3))};
  inet_pton(AF_INET, words[2], &to.sin_addr);
  done(ms_connect(fd_of(1), (struct sockaddr*)&to, sizeof to));
}

static void do_shutdown(void) { done(ms_shutdown(fd_of(1), SHUT_WR)); }
static void do_close(void) { done(ms_close(fd_of(1))); }

static void do_dup(void) { /* NAME COPY [NUMBER] */
  int fd = words[3] ? ms_dup2(fd_of(1), (int)number(3)) : ms_dup(fd_of(1));
  if (fd < 0) return failed();
  put(2, fd, sockets[words[1][0] & 127].stream);
  printf("ok %d\n", fd);
}

/* ---- bytes */

static void do_send(void) { /* NAME BYTES: one write(), which must take all of it; ms_write does in blocking mode */
  struct stream* s = stream_of(1);
  const long size = number(2);
  unsigned char* data = malloc((size_t)size);
  for (long i = 0; i < size; i++) data[i] = byte_at(s->out_key, s->sent + i);
  ssize_t n = ms_write(fd_of(1), data, (size_t)size);
  free(data);
  if (n < 0) return failed();
  s->sent += n;
  printf("ok %zd\n", n);
}

static void do_fill(void) { /* NAME: until a non-blocking socket takes no more */
  struct stream* s = stream_of(1);
  for (;;) {
    for (size_t i = 0; i < sizeof buffer; i++) buffer[i] = byte_at(s->out_key, s->sent + (long)i);
    ssize_t n = ms_write(fd_of(1), buffer, sizeof buffer);
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return failed();
    s->sent += n;
  }
  printf("ok %ld\n", s->sent);
}

/* NAME [BYTES]: so many, or to the end of the stream. "ok BYTES" and what ended it, if something did. */
static void do_recv(void) {
  struct stream* s = stream_of(1);
  const long want = words[2] ? number(2) : INT64_MAX;
  long have = 0;
  const char* end = "";
  while (have < want) {
    size_t most = want - have < (long)sizeof buffer ? (size_t)(want - have) : sizeof buffer;
    ssize_t n = ms_read(fd_of(1), buffer, most);
    if (n <= 0) {
      end = n == 0 ? " end" : strerrorname_np(errno);
      break;
    }
    if (!compare(s, buffer, n)) return;
    have += n;
  }
  printf("ok %ld%s%s\n", have, *end && *end != ' ' ? " " : "", end);
}

/* NAME ID BYTES: each byte tells its sender (0 to 3) and its place, modulo 64; for who mixes several streams. */
static void do_mark(void) {
  const long id = number(2), size = number(3);
  for (long done = 0; done < size;) {
    long n = size - done < (long)sizeof buffer ? size - done : (long)sizeof buffer;
    for (long i = 0; i < n; i++) buffer[i] = (unsigned char)(id << 6 | ((done + i) & 63));
    write_full(fd_of(1), buffer, (size_t)n);
    done += n;
  }
  printf("ok %ld\n", size);
}

/* ---- what a program can ask about a socket */

static void do_poll(void) { /* NAME in|out MILLISECONDS */
  struct pollfd p = {fd_of(1), strcmp(words[2], "in") == 0 ? POLLIN : POLLOUT, 0};
  int n = ms_poll(&p, 1, (int)number(3));
  if (n < 0) return failed();
  printf("ok %d%s%s%s%s\n", n, p.revents & POLLIN ? " in" : "", p.revents & POLLOUT ? " out" : "",
         p.revents & POLLERR ? " err" : "", p.revents & POLLHUP ? " hup" : "");
}

static void do_queues(void) { /* bytes: not acknowledged by the peer, not read by us */
  int out = 0, in = 0;
  if (ms_ioctl(fd_of(1), SIOCOUTQ, &out) < 0 || ms_ioctl(fd_of(1), FIONREAD, &in) < 0) return failed();
  printf("ok %d %d\n", out, in);
}

static void do_tcp(void) { /* the kernel's state of the connection */
  static const char* const names[] = {"0", "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait",
                                      "close", "close_wait", "last_ack", "listen", "closing"};
  struct tcp_info info = {0};
  socklen_t length = sizeof info;
  if (ms_getsockopt(fd_of(1), IPPROTO_TCP, TCP_INFO, &info, &length) < 0) return failed();
  printf("ok %s\n", names[info.tcpi_state]);
}

static void do_names(void) {
  printf("ok");
  print_address(ms_getsockname, fd_of(1));
  print_address(ms_getpeername, fd_of(1));
  printf("\n");
}

static const struct {
  const char* name;
  int level, option;
} kOptions[] = {{"nodelay", IPPROTO_TCP, TCP_NODELAY}, {"keepalive", SOL_SOCKET, SO_KEEPALIVE}, {"rcvbuf", SOL_SOCKET, SO_RCVBUF},
                {"error", SOL_SOCKET, SO_ERROR}};

static void do_option(void) { /* NAME OPTION [VALUE] */
  const int fd = fd_of(1), value = (int)number(3);
  if (strcmp(words[2], "rcvtimeo") == 0) {
    struct timeval t = {value / 1000, value % 1000 * 1000};
    socklen_t length = sizeof t;
    if (words[3]) return done(ms_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    if (ms_getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, &length) < 0) return failed();
    return done((int)(t.tv_sec * 1000 + t.tv_usec / 1000));
  }
  if (strcmp(words[2], "nonblock") == 0) {
    int flags = ms_fcntl(fd, F_GETFL);
    if (!words[3]) return done((flags & O_NONBLOCK) != 0);
    return done(ms_fcntl(fd, F_SETFL, value ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
  }
  for (size_t i = 0; i < sizeof kOptions / sizeof *kOptions; i++) {
    if (strcmp(words[2], kOptions[i].name) != 0) continue;
    int now = 0;
    socklen_t length = sizeof now;
    if (words[3]) return done(ms_setsockopt(fd, kOptions[i].level, kOptions[i].option, &value, sizeof value));
    if (ms_getsockopt(fd, kOptions[i].level, kOptions[i].option, &now, &length) < 0) return failed();
    return done(now);
  }
  printf("failed %s: no option %s\n", words[0], words[2]);
}

static const struct {
  const char* name;
  int words;
  void (*run)(void);
} kCommands[] = {{"socket", 1, do_socket}, {"listen", 2, do_listen}, {"accept", 2, do_accept}, {"connect", 3, do_connect},
                 {"shutdown", 1, do_shutdown}, {"close", 1, do_close}, {"dup", 2, do_dup}, {"send", 2, do_send},
                 {"fill", 1, do_fill}, {"recv", 1, do_recv}, {"mark", 3, do_mark}, {"poll", 3, do_poll},
                 {"queues", 1, do_queues}, {"tcp", 1, do_tcp}, {"names", 1, do_names}, {"option", 2, do_option}};

int main(void) {
  static char line[256];
  begin("ms_states");
  printf("ms_states: ready\n");
  while (fgets(line, sizeof line, stdin)) {
    int count = 0;
    memset(words, 0, sizeof words);
    for (char* word = strtok(line, " \n"); word && count < 8; word = strtok(NULL, " \n")) words[count++] = word;
    size_t i = 0, all = sizeof kCommands / sizeof *kCommands;
    while (i < all && (count == 0 || strcmp(words[0], kCommands[i].name) != 0)) i++;
    if (i < all && count > kCommands[i].words) kCommands[i].run();
    else printf("failed: no such command\n");
  }
  return 0;
}
