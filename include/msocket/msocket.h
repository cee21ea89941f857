/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * msocket: migratable sockets. Every function has the signature, the return value and the errno of the POSIX function
 * without the prefix, and works on every descriptor: on one that is not a virtual socket it is that POSIX function.
 *
 * A stream socket of AF_INET or AF_INET6 that binds to or connects to an address of the virtual network (240.0.0.0/8 unless the
 * daemon says otherwise), or that listens, in a process started by msrun or mpiexec -migratable, is virtual: its
 * connections follow the process to another node, and those of its peers follow it there. In any other process all of
 * this is plain sockets.
 *
 * A datagram socket of AF_INET is virtual once it binds to any address or its own virtual one, or sends or connects to a
 * virtual one (doc/datagrams.md). Its datagrams may be lost; none comes twice or from a stranger.
 *
 * Descriptors: a virtual socket's number is a live kernel descriptor and stays the same across moves.
 * Threads: any number, but a process with more than one cannot move itself; its peers can. Signals: SIGRTMAX-4 (60) belongs
 * to the library. Blocking calls are not interrupted by it. Async-signal-safe: ms_read, ms_write, ms_send, ms_recv, ms_close, as in POSIX.
 * Paper: sections 3 to 5.
 */
#ifndef MSOCKET_MSOCKET_H
#define MSOCKET_MSOCKET_H

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

struct mmsghdr; /* with _GNU_SOURCE in <sys/socket.h> */

#ifdef __cplusplus
extern "C" {
#endif

int ms_socket(int domain, int type, int protocol);
int ms_bind(int fd, const struct sockaddr* address, socklen_t length);
int ms_listen(int fd, int backlog);
int ms_accept(int fd, struct sockaddr* address, socklen_t* length);
int ms_accept4(int fd, struct sockaddr* address, socklen_t* length, int flags);
int ms_connect(int fd, const struct sockaddr* address, socklen_t length);
ssize_t ms_read(int fd, void* buffer, size_t count);
ssize_t ms_readv(int fd, const struct iovec* parts, int count);
ssize_t ms_recv(int fd, void* buffer, size_t count, int flags);
ssize_t ms_recvfrom(int fd, void* buffer, size_t count, int flags, struct sockaddr* address, socklen_t* length);
ssize_t ms_write(int fd, const void* buffer, size_t count);
ssize_t ms_writev(int fd, const struct iovec* parts, int count);
ssize_t ms_send(int fd, const void* buffer, size_t count, int flags);
ssize_t ms_sendto(int fd, const void* buffer, size_t count, int flags, const struct sockaddr* address, socklen_t length);
ssize_t ms_recvmsg(int fd, struct msghdr* message, int flags);
ssize_t ms_sendmsg(int fd, const struct msghdr* message, int flags);
int ms_recvmmsg(int fd, struct mmsghdr* messages, unsigned int count, int flags, struct timespec* timeout);
int ms_sendmmsg(int fd, struct mmsghdr* messages, unsigned int count, int flags);
ssize_t ms_sendfile(int out, int in, off_t* offset, size_t count);
ssize_t ms_splice(int in, off_t* in_offset, int out, off_t* out_offset, size_t length, unsigned int flags);
int ms_shutdown(int fd, int how);
int ms_close(int fd);
/* The next program goes on with the virtual sockets that it inherits, if it comes under msocket, too. */
int ms_execve(const char* path, char* const arguments[], char* const environment[]);
int ms_close_range(unsigned int first, unsigned int last, int flags);
void ms_closefrom(int first);
int ms_dup(int fd);
int ms_dup2(int fd, int to);
int ms_dup3(int fd, int to, int flags);
int ms_fcntl(int fd, int command, ...);
int ms_ioctl(int fd, unsigned long request, ...);
int ms_setsockopt(int fd, int level, int name, const void* value, socklen_t length);
int ms_getsockopt(int fd, int level, int name, void* value, socklen_t* length);
int ms_getsockname(int fd, struct sockaddr* address, socklen_t* length);
int ms_getpeername(int fd, struct sockaddr* address, socklen_t* length);
int ms_poll(struct pollfd* fds, nfds_t count, int timeout_ms);
int ms_ppoll(struct pollfd* fds, nfds_t count, const struct timespec* timeout, const sigset_t* mask);
int ms_select(int count, fd_set* read, fd_set* write, fd_set* except, struct timeval* timeout);
int ms_pselect(int count, fd_set* read, fd_set* write, fd_set* except, const struct timespec* timeout, const sigset_t* mask);
int ms_epoll_create(int size);
int ms_epoll_create1(int flags);
int ms_epoll_ctl(int epoll, int operation, int fd, struct epoll_event* event);
int ms_epoll_wait(int epoll, struct epoll_event* events, int most, int timeout_ms);
int ms_epoll_pwait(int epoll, struct epoll_event* events, int most, int timeout_ms, const sigset_t* mask);
int ms_epoll_pwait2(int epoll, struct epoll_event* events, int most, const struct timespec* timeout, const sigset_t* mask);

/* The name of the node on which the process runs now, as the daemon calls it; the kernel's host name without a daemon. */
int ms_gethostname(char* name, size_t length);

/* The process's own virtual IPv4 address in network byte order, 0 when it has none. */
unsigned int ms_virtual_address(void);
/* 1 if the descriptor is a virtual socket. */
int ms_is_virtual(int fd);
/* For a signal handler that interrupts calls of this library, before all else: `context` is the handler's third argument. A
 * call that was about to enter the kernel looks again which socket is under its number. The preload face does this for every
 * handler of the program, and says so by a call with NULL. Async-signal-safe. */
void ms_look_again(void* context);
/* How often the process has moved. */
unsigned int ms_generation(void);

/* How many datagrams were kept from the program because they were not of its job, or had come before. */
unsigned long ms_datagrams_dropped(void);

#ifdef __cplusplus
}
#endif
#endif
