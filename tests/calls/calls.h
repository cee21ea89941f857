/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * What the modes of ms_calls have in common. Plain POSIX names: the program runs under msrun as it is; compiled with MS_FACE
 * the same calls are ms_X.
 */
#ifndef MSOCKET_TESTS_CALLS_H
#define MSOCKET_TESTS_CALLS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef MS_FACE
#include "face.h"
#endif

enum role { SERVER, CLIENT };

extern const char *mode, *role_name;
extern const char* server_address; /* numeric */
extern int server_port;

/* Of a program that an exec of itself has started: the words after its own. */
extern int exec_count;
extern char** exec_words;
extern const char *program_path, *stop_path;

/* Ends the program with a line; `errno` is told if it is set. */
_Noreturn void die(const char* format, ...) __attribute__((format(printf, 1, 2)));
#define MUST(condition)                                                      \
  do {                                                                       \
    if (!(condition)) die("%s:%d: %s", __FILE_NAME__, __LINE__, #condition); \
  } while (0)

/* One more round is right; says so now and then. */
void progress(void);
/* Says it now: a mode has begun. */
void ready(void);
/* The harness wants the end. */
int stopping(void);
/* The client has come to its end; it says so itself with `now`. */
int client_ended(int now);
int64_t now_us(void);
unsigned dice(unsigned below);

/* The byte number `at` of the stream `seed`; the first byte is the seed itself. */
unsigned char pattern(unsigned seed, uint64_t at);
void fill(unsigned char* to, size_t size, unsigned seed, uint64_t at);
void check(const unsigned char* bytes, size_t size, unsigned seed, uint64_t at);

int listen_here(int backlog);
int accept_from(int listener);
int connect_there(void);
void read_all(int fd, void* to, size_t size);
void write_all(int fd, const void* from, size_t size);
void set_nonblocking(int fd, int on);
/* One blocking round of an echo: `size` random bytes there and back again, checked. */
void echo_round(int fd, size_t size);
/* Gives back what comes until the end of the stream, then closes. The number of bytes. */
uint64_t echo_until_end(int fd);
/* Echoes to all who come, by poll (a process with threads cannot move), until all have gone after the end was wanted.
 * `each` is called after each wait. */
void serve_by_poll(int listener, void (*each)(int some_connection));

/* The modes: each file's own. */
void mode_engine(enum role role);
void mode_idle(enum role role);
void mode_many(enum role role);
void mode_data(enum role role);
void mode_numbers(enum role role);
void mode_close_all(enum role role);
void mode_fork_each(enum role role);
void mode_fork_split(enum role role);
void mode_fork_records(enum role role);
void mode_fork_accept(enum role role);
void mode_threads(enum role role);
void mode_stdio(enum role role);
void mode_signals(enum role role);
void mode_ipv6(enum role role);
void mode_local(enum role role);
void mode_plain(enum role role);
void mode_exec(enum role role);
void mode_exec_child(enum role role);

#endif
