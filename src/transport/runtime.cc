// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#include "src/transport/raw.h"
#include "src/transport/stub.h"
#include "src/transport/vsocket.h"

namespace msocket::transport {

Runtime rt;
void (*freeze_hook)(int, int);

bool try_lock() { return __atomic_exchange_n(&rt.lock, 1u, __ATOMIC_ACQUIRE) == 0; }

void lock() {
  while (!try_lock()) raw::sys(SYS_sched_yield);
}

void unlock() {
  for (;;) {
    __atomic_store_n(&rt.lock, 0u, __ATOMIC_RELEASE);
    if (!rt.pending || !try_lock()) return;
    rt.pending = 0;
    handle_control();
  }
}

namespace {

void on_control_signal(int, siginfo_t*, void* context) {
  rewind_stub(static_cast<ucontext_t*>(context));
  if (!rt.active) return;
  if (!try_lock()) {
    rt.pending = 1;
    return;
  }
  handle_control();
  unlock();
}

// What the kernel's rt_sigaction takes; libc's wrapper is not async-signal-safe enough for the freshly restored process.
struct KernelSigaction {
  void (*handler)(int, siginfo_t*, void*);
  unsigned long flags;
  void (*restorer)();
  uint64_t mask;
};

__attribute__((naked)) void sigreturn_trampoline() { __asm__ volatile("mov $15, %eax\n\tsyscall"); }

constexpr unsigned long kSaRestorer = 0x04000000;

}  // namespace

void install_handler() {
  KernelSigaction action{on_control_signal, SA_SIGINFO | SA_RESTART | kSaRestorer, sigreturn_trampoline, ~0ull};
  raw::sys(SYS_rt_sigaction, wire::kControlSignal, &action, nullptr, 8);
}

void arm(int fd) {
  struct {
    int type;
    int pid;
  } owner{0 /* F_OWNER_TID */, static_cast<int>(raw::gettid())};
  raw::fcntl(fd, F_SETOWN_EX, reinterpret_cast<long>(&owner));
  raw::fcntl(fd, F_SETSIG, wire::kControlSignal);
  long flags = raw::fcntl(fd, F_GETFL);
  raw::fcntl(fd, F_SETFL, flags | O_ASYNC | O_NONBLOCK);
}

long wait_for_event(int timeout_ms) {
  timespec timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1000000L};
  long r = ms_stub(0, 0, timeout_ms < 0 ? 0 : reinterpret_cast<long>(&timeout), 0, 8, 0, SYS_ppoll, &rt.events, 0xff);
  if (r == kRedo || rt.events) return 0;
  if (r == 0) return -ETIME;
  return r;
}

int move_high(int fd) {
  long high = raw::fcntl(fd, F_DUPFD_CLOEXEC, kHighFd);
  // In a process that has just moved a number may be free now and yet be a socket's, to be restored.
  while (kind_of(static_cast<int>(high))) {
    raw::close(static_cast<int>(high));
    high = raw::fcntl(fd, F_DUPFD_CLOEXEC, high + 1);
  }
  raw::close(fd);
  return static_cast<int>(high);
}

}  // namespace msocket::transport
