/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Many connections at once, by one call that waits for all: the server echoes, the client compares every byte. Half of the
 * connections are non-blocking (all with edges); a pipe and an eventfd of the program's own are waited for with them. The
 * client ends one connection after the other and makes it anew, without blocking.
 */
#include "waiters.h"

enum { CHUNK = 8192, LISTENER = 0, PIPE = 1, EVENT = 2, FIRST = 3, WINDOW = 48 * 1024, BULK = 600 * 1024, LIFE = 2000000, MOST_MOVES = 8 };

struct connection {
  int blocking, connecting, ended, peer_ended;
  int readable, writable;  /* by edges; else by the last wait */
  int in_vain;             /* how often in a row it was ready and was not */
  unsigned seed;
  uint64_t sent, received, life, window;
  unsigned char held[CHUNK];  /* server: read and not yet written */
  size_t from, until;
};

static struct watched entries[MOST_WATCHED];
static struct connection connections[MOST_WATCHED];
static enum waiter kind;
static enum role role;
static int count = FIRST, most, open_now, ever;
static int pipe_in, event_fd, tokens;

static int edges(void) { return kind == EDGE; }

static void vain(struct connection* c, const char* what) {
  if (edges()) return;
  if (++c->in_vain > 50) die("a connection is ready to %s, again and again, and is not", what);
}

static void start(int index, int fd, int blocking) {
  struct connection* c = &connections[index];
  memset(c, 0, sizeof *c);
  entries[index].fd = fd;
  entries[index].in_set = -1;
  entries[index].armed = 0;
  c->blocking = blocking && !edges();
  c->seed = dice(256);
  c->life = LIFE / 2 + dice(LIFE);
  c->window = !c->blocking && dice(4) == 0 ? BULK : WINDOW;  /* so much that EAGAIN and EPOLLOUT come */
  if (c->blocking && c->window > WINDOW) c->window = WINDOW;
  ++open_now;
  ++ever;
}

static void open_connection(int index) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)server_port)};
  inet_pton(AF_INET, server_address, &to.sin_addr);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  MUST(fd >= 0);
  start(index, fd, index % 2);
  connections[index].connecting = 1;
  if (kind >= LEVEL) {  /* in the set before it is anything */
    entries[index].events = POLLOUT;
    int r = connect(fd, (struct sockaddr*)&to, sizeof to);
    MUST(r == 0 || errno == EINPROGRESS);
    return;
  }
  int r = connect(fd, (struct sockaddr*)&to, sizeof to);
  MUST(r == 0 || errno == EINPROGRESS);
}

static void connected(int index) {
  int error = -1;
  socklen_t length = sizeof error;
  MUST(getsockopt(entries[index].fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
  if (error) die("connect: %s", strerror(error));
  connections[index].connecting = 0;
  if (connections[index].blocking) set_nonblocking(entries[index].fd, 0);
}

static void finish(int index) {
  waiter_forget(&entries[index]);
  MUST(close(entries[index].fd) == 0);
  entries[index].fd = -1;
  entries[index].events = 0;
  --open_now;
}

static void take_connections(void) {
  for (;;) {
    int fd = accept4(entries[LISTENER].fd, NULL, NULL, ever % 2 || edges() ? SOCK_NONBLOCK : 0);
    if (fd < 0 && errno == EAGAIN) return;
    MUST(fd >= 0);
    int index = FIRST;
    while (index < count && entries[index].fd >= 0) ++index;
    MUST(index < MOST_WATCHED);
    if (index == count) ++count;
    start(index, fd, ever % 2 == 0);
  }
}

/* 0: not now. */
static size_t send_some(int index, const unsigned char* from, size_t size) {
  struct connection* c = &connections[index];
  ssize_t n = dice(2) ? write(entries[index].fd, from, size) : send(entries[index].fd, from, size, MSG_NOSIGNAL);
  if (n > 0) {
    c->in_vain = 0;
    return (size_t)n;
  }
  if (n < 0 && errno == EAGAIN && !c->blocking) {
    c->writable = 0;
    vain(c, "write");
    return 0;
  }
  die("writing to descriptor %d gives %zd", entries[index].fd, n);
}

static ssize_t receive_some(int index, unsigned char* to, size_t size) {
  struct connection* c = &connections[index];
  ssize_t n = c->blocking || dice(2) ? recv(entries[index].fd, to, size, MSG_DONTWAIT) : read(entries[index].fd, to, size);
  if (n >= 0) {
    c->in_vain = 0;
    return n;
  }
  MUST(errno == EAGAIN);
  c->readable = 0;
  vain(c, "read");
  return -1;
}

static void serve(int index) {
  struct connection* c = &connections[index];
  do {
    if (c->from == c->until && c->readable) {
      ssize_t n = receive_some(index, c->held, CHUNK);
      if (n == 0) {
        if (kind >= LEVEL && !c->peer_ended && !(entries[index].ready & POLLRDHUP) && !edges())
          die("the end of the stream without EPOLLRDHUP, descriptor %d", entries[index].fd);
        return finish(index);
      }
      c->from = 0;
      c->until = n > 0 ? (size_t)n : 0;
      if (n > 0 && c->received == 0) c->seed = c->held[0];
      if (n > 0) check(c->held, (size_t)n, c->seed, c->received), c->received += (uint64_t)n;
    }
    if (c->from < c->until && c->writable) c->from += send_some(index, c->held + c->from, c->until - c->from);
  } while (edges() && (c->from < c->until ? c->writable : c->readable));
  progress();
}

static void ask(int index, int stop) {
  static unsigned char bytes[CHUNK];
  struct connection* c = &connections[index];
  if (c->connecting) {
    if (!c->writable) return;
    connected(index);
  }
  do {
    if (c->writable && !c->ended && c->sent < c->life && c->sent - c->received < c->window && !stop) {
      size_t n = 1 + dice(CHUNK);
      fill(bytes, n, c->seed, c->sent);
      c->sent += send_some(index, bytes, n);
    }
    if (c->readable && c->received < c->sent) {
      ssize_t n = receive_some(index, bytes, CHUNK);
      if (n == 0) die("the end of the stream after %llu of %llu bytes", (unsigned long long)c->received, (unsigned long long)c->sent);
      if (n > 0) check(bytes, (size_t)n, c->seed, c->received), c->received += (uint64_t)n;
    }
    if (c->received == c->sent && (stop || c->sent >= c->life) && !c->ended) {
      MUST(shutdown(entries[index].fd, SHUT_WR) == 0);
      c->ended = 1;
    }
    if (c->ended && c->readable) {
      ssize_t n = receive_some(index, bytes, CHUNK);
      if (n > 0) die("bytes after the end");
      if (n == 0) {
        finish(index);
        if (!stop) open_connection(index);
        progress();
        return;
      }
    }
  } while (edges() && c->readable && (c->ended || c->received < c->sent));
  progress();
}

/* What is there before the call must be told by the call. */
static int there_is_data(int index) {
  unsigned char byte;
  return index >= FIRST && !connections[index].connecting && (entries[index].events & POLLIN) &&
         recv(entries[index].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/* It was there, and the call has not told it. Only if the process itself has moved in between: then it is on its way. */
static void must_come(int index) {
  static int times;
  struct watched alone[1] = {entries[index]};
  alone[0].events = POLLIN;
  if (++times > MOST_MOVES || wait_for(alone, 1, 30000) != 1) die("data, but descriptor %d is not readable", entries[index].fd);
}

/* The program's own descriptors: readable if and only if something is in them. Only epoll_wait need not tell all at once. */
static void own_descriptors(int write_end) {
  static int late;
  uint64_t value = 3;
  char byte;
  int told = (entries[PIPE].ready & POLLIN ? 1 : 0) | (entries[EVENT].ready & POLLIN ? 2 : 0);
  if (told & ~tokens) die("an empty pipe or eventfd is readable: %d, in them: %d", told, tokens);
  late = told == tokens ? 0 : late + 1;
  if (told != tokens && (kind < LEVEL || late > 1000)) die("a pipe or eventfd is not readable: %d, in them: %d", told, tokens);
  if (told & 1) MUST(read(pipe_in, &byte, 1) == 1 && byte == 'x');
  if (told & 2) MUST(read(event_fd, &value, sizeof value) == sizeof value && value == 3);
  tokens &= ~told;
  if (tokens) return;
  tokens = (int)dice(16); /* most often none */
  if (tokens > 3) tokens = 0;
  if (tokens & 1) MUST(write(write_end, "x", 1) == 1);
  if (tokens & 2) MUST(write(event_fd, &value, sizeof value) == sizeof value);
}

/* Nothing can happen on these, whatever moves: the time-out is kept. */
static void idle(void) {
  struct watched quiet[1] = {entries[PIPE]};
  quiet[0].events = POLLIN;
  if (!tokens && kind < LEVEL) MUST(wait_for(quiet, 1, (int)dice(30)) == 0);
}

static void loop(int write_end) {
  for (unsigned turn = 0;; ++turn) {
    int stop = role == CLIENT && stopping();
    if (role == CLIENT && stop && open_now == 0) {
      client_ended(1);
      return;
    }
    /* Not before: a client that has not seen yet that it is to stop makes its connections anew. */
    if (role == SERVER && ever >= most && open_now == 0 && client_ended(0)) return;
    int sure = -1;
    for (int i = FIRST; i < count; ++i) {
      struct connection* c = &connections[i];
      if (entries[i].fd < 0) continue;
      if (!edges()) c->readable = c->writable = 0;
      int more = !c->ended && c->sent < c->life && c->sent - c->received < c->window && !stop;
      int in = role == SERVER ? c->from == c->until : c->received < c->sent || c->ended;
      int out = role == SERVER ? c->from < c->until : c->connecting || more;
      if (!in && !out) out = 1;  /* shall end */
      entries[i].events = (short)((in && !c->connecting ? POLLIN : 0) | (out ? POLLOUT : 0));
      if (sure < 0 && turn % 8 == 0 && !edges() && there_is_data(i)) sure = i;
    }
    wait_for(entries, count, role == SERVER ? 200 : 1000);
    if (sure >= 0 && !(entries[sure].ready & POLLIN) && kind < LEVEL) must_come(sure);
    for (int i = FIRST; i < count; ++i) {
      if (entries[i].fd < 0 || !entries[i].ready) continue;
      if (entries[i].ready & (POLLIN | POLLHUP | POLLERR | POLLRDHUP)) connections[i].readable = 1;
      if (entries[i].ready & (POLLOUT | POLLERR)) connections[i].writable = 1;
      if (entries[i].ready & POLLRDHUP) connections[i].peer_ended = 1;
      if (role == SERVER) serve(i);
      else ask(i, stop);
    }
    own_descriptors(write_end);
    if (role == SERVER && (entries[LISTENER].ready & POLLIN)) take_connections();
    if (turn % 64 == 63) idle();
    if (edges() && role == CLIENT)  /* an edge that came before there was anything to do */
      for (int i = FIRST; i < count; ++i)
        if (entries[i].fd >= 0 && !connections[i].connecting) ask(i, stop);
  }
}

void mode_engine(enum role as) {
  static const char* const names[] = {"poll", "ppoll", "select", "pselect", "epoll-level", "epoll-edge", "epoll-oneshot"};
  int ends[2];
  role = as;
  while (strcmp(names[kind], mode)) ++kind;
  most = kind < LEVEL ? 20 : 50;
  for (int i = 0; i < MOST_WATCHED; ++i) entries[i] = (struct watched){.fd = -1, .in_set = -1};
  waiter_begin(kind);
  MUST(pipe(ends) == 0);
  pipe_in = entries[PIPE].fd = ends[0];
  event_fd = entries[EVENT].fd = eventfd(0, EFD_NONBLOCK);
  MUST(event_fd >= 0);
  entries[PIPE].events = entries[EVENT].events = POLLIN;
  if (role == SERVER) {
    entries[LISTENER].fd = listen_here(100);
    entries[LISTENER].events = POLLIN;
    set_nonblocking(entries[LISTENER].fd, 1);
  } else {
    ready();
    count = FIRST + most;
    for (int i = FIRST; i < count; ++i) open_connection(i);
  }
  loop(ends[1]);
}
