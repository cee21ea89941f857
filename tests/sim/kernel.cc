// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "tests/sim/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "src/wire/control.h"
#include "tests/sim/calls.h"

namespace msocket::sim {

namespace {
std::map<int, Proc*> procs;
int next_tid = 100;
std::map<long, size_t> mappings;
std::map<long, uint64_t> wakes;  // of futexes
}  // namespace

Proc::Proc(std::string n) : name(std::move(n)), tid(next_tid++) { procs[tid] = this; }
Proc::~Proc() { procs.erase(tid); }

Proc* find_proc(int tid) {
  auto it = procs.find(tid);
  return it == procs.end() ? nullptr : it->second;
}

int Proc::lowest_free(int from) const {
  int fd = from < 3 ? 3 : from;
  while (table.count(fd)) ++fd;
  return fd;
}

int Proc::put(FilePtr file, int from, bool close_on_exec) {
  int fd = lowest_free(from);
  table[fd] = {std::move(file), close_on_exec};
  return fd;
}

FilePtr Proc::find(int fd) const {
  auto it = table.find(fd);
  return it == table.end() ? nullptr : it->second.file;
}

Still::Still() { ++sim.current->still; }
Still::~Still() { --sim.current->still; }

size_t mapped_bytes() {
  size_t n = 0;
  for (auto& [at, length] : mappings) n += length;
  return n;
}

namespace {

void preempt() {
  if (!sim.current->still && sim.random.percent(25)) sim.sleep(sim.delay());
}

bool signal_waits(const Fiber* self) {
  return !self->still && !self->masked && self->proc && self->proc->pending > 0 && self->proc->handler;
}

// True: the handler has run. It may have moved the process: self->proc is another one then.
bool deliver_signals() {
  Fiber* self = sim.current;
  bool any = false;
  while (signal_waits(self)) {
    --self->proc->pending;
    ++self->masked;
    siginfo_t info{};
    ucontext_t context{};
    self->proc->handler(60, &info, &context);
    --self->masked;
    any = true;
  }
  return any;
}

long map_memory(long nr, const long* a) {
  long r = nr == SYS_mmap     ? syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5])
           : nr == SYS_munmap ? syscall(nr, a[0], a[1])
                              : syscall(nr, a[0], a[1], a[2], a[3]);
  if (r == -1) return -errno;
  if (nr != SYS_mmap) mappings.erase(a[0]);
  if (nr != SYS_munmap) mappings[r] = static_cast<size_t>(nr == SYS_mmap ? a[1] : a[2]);
  return r;
}

long tell_time(timespec* t) {
  t->tv_sec = sim.now / kSecond;
  t->tv_nsec = sim.now % kSecond * 1000;
  return 0;
}

Time limit_of(long nr, const long* a) {
  long at = 0;
  switch (nr) {
    case SYS_poll: return static_cast<int>(a[2]) < 0 ? -1 : a[2] * kMs;
    case SYS_epoll_pwait: return static_cast<int>(a[3]) < 0 ? -1 : a[3] * kMs;
    case SYS_ppoll: at = a[2]; break;
    case SYS_pselect6: at = a[4]; break;
    case SYS_futex: at = (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT ? a[3] : 0; break;
  }
  if (!at) return -1;
  auto* t = reinterpret_cast<const timespec*>(at);
  return t->tv_sec * kSecond + (t->tv_nsec + 999) / 1000;
}

// Waits with a time-out, which the kernel does not restart by itself.
bool is_timed(long nr) {
  return nr == SYS_poll || nr == SYS_ppoll || nr == SYS_epoll_pwait || nr == SYS_pselect6 || nr == SYS_futex;
}

long out_of_time(long nr, const long* a) {
  if (nr == SYS_futex) return -ETIMEDOUT;
  if (nr == SYS_pselect6)
    for (int i : {1, 2, 3})
      if (a[i]) memset(reinterpret_cast<void*>(a[i]), 0, (static_cast<size_t>(a[0]) + 63) / 64 * 8);
  return 0;
}

long futex(const long* a, Waits* waits) {
  if ((a[1] & FUTEX_CMD_MASK) == FUTEX_WAKE) {
    ++wakes[a[0]];
    return 0;
  }
  if (*reinterpret_cast<const uint32_t*>(a[0]) != static_cast<uint32_t>(a[2])) return -EAGAIN;
  waits->until = [word = a[0], before = wakes[a[0]]] { return wakes[word] != before; };
  return 0;
}

// Calls that never wait. -ENOSYS: not one of them.
long quick_call(long nr, const long* a) {
  Proc* proc = sim.current->proc;
  switch (nr) {
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mremap: return map_memory(nr, a);
    case SYS_clock_gettime: return tell_time(reinterpret_cast<timespec*>(a[1]));
    case SYS_getpid:
    case SYS_gettid: return proc->tid;
    case SYS_getrandom:
      for (long i = 0; i < a[1]; ++i) reinterpret_cast<char*>(a[0])[i] = static_cast<char>(sim.random.next());
      return a[1];
    case SYS_sched_yield: sim.sleep(1); return 0;
    case SYS_rt_sigaction: memcpy(&proc->handler, reinterpret_cast<void*>(a[1]), sizeof proc->handler); return 0;
    case SYS_rt_sigprocmask:  // the program has no signals here; the control signal is never to wait for one of these
      if (a[1] && a[0] == SIG_BLOCK && (*reinterpret_cast<uint64_t*>(a[1]) >> (wire::kControlSignal - 1) & 1))
        sim.fail("the control signal is blocked");
      if (a[2]) *reinterpret_cast<uint64_t*>(a[2]) = 0;
      return 0;
    case SYS_tgkill:
      if (a[2] != SIGPIPE) sim.fail("tgkill with signal %ld", a[2]);
      ++proc->sigpipes;
      return 0;
    case SYS_uname:
      *reinterpret_cast<utsname*>(a[0]) = {};
      return 0;
    case SYS_exit_group: sim.fail("%s ends itself: exit_group(%ld)", proc->name.c_str(), a[0]);
    default: return file_call(nr, a);
  }
}

}  // namespace

long system_call(long nr, const long* a, bool guarded) {
  Fiber* self = sim.current;
  struct Under {
    Fiber* self;
    long before = self->call;
    ~Under() { self->call = before; }
  } under{self};
  self->call = nr;
  preempt();
  if (deliver_signals() && guarded) return kLookAgain;
  Time limit = limit_of(nr, a), deadline = limit < 0 ? -1 : sim.now + limit;
  size_t done = 0;
  for (;;) {
    if (self->proc->killed && (nr == SYS_poll || nr == SYS_recvmsg)) throw Killed();
    Waits waits;
    long r = nr == SYS_futex ? futex(a, &waits) : quick_call(nr, a);
    if (r == -ENOSYS) r = io_call(nr, a, done, &waits);
    if (r == -ENOSYS) sim.fail("%s makes system call %ld, which tests/sim does not know", self->proc->name.c_str(), nr);
    if (!waits.until) {
      preempt();
      deliver_signals();
      return r;
    }
    if (deadline >= 0 && sim.now >= deadline) return out_of_time(nr, a);
    if (self->still) sim.fail("a call that should not wait does: number %ld", nr);
    // The condition holds the files, not the numbers: what the numbers mean may change meanwhile.
    bool came = sim.wait([&] { return waits.until() || signal_waits(self) || self->proc->killed; },
                         deadline < 0 ? -1 : deadline - sim.now);
    if (signal_waits(self) && !(came && waits.until() && sim.random.percent(50))) {
      if (sim.planted("no-second-look") && guarded) guarded = false;
      deliver_signals();
      if (done) return static_cast<long>(done);
      if (is_timed(nr)) return -EINTR;
      if (guarded) return kLookAgain;
    }
  }
}

}  // namespace msocket::sim
