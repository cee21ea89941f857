// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <time.h>

#include "src/transport/raw.h"
#include "src/transport/restart.h"
#include "src/transport/stub.h"
#include "src/transport/vsocket.h"
#include "src/transport/world.h"

namespace msocket::transport {

Runtime rt;
void (*freeze_hook)(int, int);
void (*track_hook)();
void (*look_hook)(int report_fd, int marks_fd, uint32_t flags) = nullptr;

bool try_lock() { return __atomic_exchange_n(&rt.lock, 1u, __ATOMIC_ACQUIRE) == 0; }

void lock() {
  while (!try_lock()) raw::sys(SYS_sched_yield);
}

void unlock() {
  for (;;) {
    if (rt.changed) {
      rt.changed = false;
      announce_change();
    }
    __atomic_store_n(&rt.lock, 0u, __ATOMIC_RELEASE);
    if (!rt.pending || !try_lock()) return;
    rt.pending = 0;
    handle_control();
  }
}

SignalsWait::SignalsWait() { raw::sys(SYS_rt_sigprocmask, SIG_BLOCK, &kOtherSignals, &before_, 8); }
SignalsWait::~SignalsWait() { raw::sys(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, 8); }

namespace {

void on_control_signal(int, siginfo_t*, void* context) {
  rewind_stub(static_cast<ucontext_t*>(context), true);
  __atomic_add_fetch(&rt.signals, 1, __ATOMIC_RELAXED);
  if (rt.active && !held_in_handler(static_cast<ucontext_t*>(context))) {
    if (try_lock()) {
      handle_control();
      unlock();
    } else {
      rt.pending = 1;
    }
  }
  restart_call(static_cast<ucontext_t*>(context));
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

void ignore_control_signal() {
  KernelSigaction ignore{reinterpret_cast<void (*)(int, siginfo_t*, void*)>(reinterpret_cast<void*>(SIG_IGN)), 0, nullptr, 0};
  raw::sys(SYS_rt_sigaction, wire::kControlSignal, &ignore, nullptr, 8);
}

void install_handler() {
  KernelSigaction action{on_control_signal, SA_SIGINFO | SA_RESTART | kSaRestorer, sigreturn_trampoline, ~0ull};
  raw::sys(SYS_rt_sigaction, wire::kControlSignal, &action, nullptr, 8);
}

void arm(int fd) {
  struct {
    int type;
    int pid;
  } owner{1 /* F_OWNER_PID: any thread may take it */, static_cast<int>(raw::getpid())};
  rt.pid = owner.pid;
  raw::fcntl(fd, F_SETOWN_EX, reinterpret_cast<long>(&owner));
  raw::fcntl(fd, F_SETSIG, wire::kControlSignal);
  long flags = raw::fcntl(fd, F_GETFL);
  raw::fcntl(fd, F_SETFL, flags | O_ASYNC | O_NONBLOCK);
}

int patience(int timeout_ms) {
  constexpr int kStarved = 100;
  return rt.starved && (timeout_ms < 0 || timeout_ms > kStarved) ? kStarved : timeout_ms;
}

long wait_for_change(uint32_t epoch, int timeout_ms) {
  int sleep_ms = patience(timeout_ms);
  timespec timeout{sleep_ms / 1000, (sleep_ms % 1000) * 1000000L};
  uint32_t signals = rt.signals;
  long r = raw::sys(SYS_futex, &rt.epoch, FUTEX_WAIT_PRIVATE, epoch, sleep_ms < 0 ? nullptr : &timeout, 0, 0);
  if (r == -ETIMEDOUT && sleep_ms != timeout_ms) return 0;
  if (rt.epoch != epoch || r == 0 || r == -EAGAIN) return 0;
  if (r == -EINTR && rt.signals != signals) return 0;
  return r == -ETIMEDOUT ? -ETIME : r;
}

int move_high(int fd) {
  int high = copy_high(fd);
  raw::close(fd);
  return high;
}

int copy_high(int fd) {
  long high = raw::fcntl(fd, F_DUPFD_CLOEXEC, rt.high_from);
  // In a process that has just moved a number may be free now and yet be a socket's, to be restored.
  while (high >= 0 && kind_of(static_cast<int>(high))) {
    raw::close(static_cast<int>(high));
    high = raw::fcntl(fd, F_DUPFD_CLOEXEC, high + 1);
  }
  if (high >= 0) mark_own(static_cast<int>(high));
  return static_cast<int>(high);
}

void mark_own(int fd) {
  if (fd >= 0 && fd < kMaxFd) ms_kind[fd] = kOwn;
}

void close_own(int fd) {
  if (fd < 0) return;
  if (fd < kMaxFd) ms_kind[fd] = 0;
  raw::close(fd);
}

}  // namespace msocket::transport
