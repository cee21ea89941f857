// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// System calls without libc: no errno (a negative return is -errno), no cancellation, no lazy binding, no thread-local
// access. Everything in this library that a signal handler or the restorer can reach goes through here. x86-64.
#pragma once
#include <cstddef>
#include <cstdint>
#include <sys/syscall.h>

namespace msocket::raw {

#ifdef MSOCKET_SIM
/// tests/sim has a kernel of its own; it sets this before the first call.
extern long (*simulated_kernel)(long nr, const long* arguments, bool guarded);

inline long call(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  const long arguments[] = {a, b, c, d, e, f};
  return simulated_kernel(nr, arguments, false);
}
#else
inline __attribute__((always_inline)) long call(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                                                long f = 0) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#endif

template <class... Args>
inline __attribute__((always_inline)) long sys(long nr, Args... args) {
  return call(nr, (long)(args)...);
}

inline long read(int fd, void* p, size_t n) { return sys(SYS_read, fd, p, n); }
inline long write(int fd, const void* p, size_t n) { return sys(SYS_write, fd, p, n); }
inline long close(int fd) { return sys(SYS_close, fd); }
inline long fcntl(int fd, int command, long argument = 0) { return sys(SYS_fcntl, fd, command, argument); }
inline long dup3(int from, int to, int flags) { return sys(SYS_dup3, from, to, flags); }
inline long getpid() { return sys(SYS_getpid); }
inline long gettid() { return sys(SYS_gettid); }
inline long socket(int domain, int type, int protocol) { return sys(SYS_socket, domain, type, protocol); }
inline long socketpair(int domain, int type, int* pair) { return sys(SYS_socketpair, domain, type, 0, pair); }
inline long shutdown(int fd, int how) { return sys(SYS_shutdown, fd, how); }
inline long getsockopt(int fd, int level, int name, void* value, void* length) {
  return sys(SYS_getsockopt, fd, level, name, value, length);
}
inline long setsockopt(int fd, int level, int name, const void* value, unsigned length) {
  return sys(SYS_setsockopt, fd, level, name, value, length);
}
inline long poll(void* fds, unsigned long count, int timeout) { return sys(SYS_poll, fds, count, timeout); }
inline void* mmap(void* at, size_t length, int prot, int flags, int fd = -1, long offset = 0) {
  return reinterpret_cast<void*>(sys(SYS_mmap, at, length, prot, flags, fd, offset));
}
inline long munmap(void* at, size_t length) { return sys(SYS_munmap, at, length); }
inline bool failed(const void* p) { return reinterpret_cast<uintptr_t>(p) > static_cast<uintptr_t>(-4096); }
[[noreturn]] inline void exit_group(int status) {
  for (;;) sys(SYS_exit_group, status);
}

/// Writes all of it, whatever the descriptor's mode; 0 or -errno.
long write_all(int fd, const void* data, size_t length);
/// The same on a socket, without SIGPIPE when the other end has gone (-EPIPE then).
long send_all(int fd, const void* data, size_t length);
/// Reads exactly `length` bytes; 0, -errno, or -EPIPE at end of stream.
long read_all(int fd, void* data, size_t length);
/// A note to standard error for what must not pass unnoticed: "msocket: <text>\n". Async-signal-safe.
void complain(const char* text);

}  // namespace msocket::raw
