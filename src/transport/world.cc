// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/world.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
#include <time.h>

#include "src/transport/raw.h"
#include "src/transport/runtime.h"

extern "C" char __libc_single_threaded __attribute__((weak));

namespace msocket::transport {

namespace {

constexpr long kLookAgainNs = 2'000'000;  // a thread that has not come by then may have ended, or blocks the signal

struct World {
  volatile uint32_t stopping = 0;  // odd while the others are to stand still; futex
  volatile uint32_t arrived = 0;   // how many do; futex
  int stopper = 0;                 // thread id
  int count = 0;
  int ids[kMaxThreads];
  volatile uint8_t here[kMaxThreads];
  volatile uint8_t in_kernel_code[kMaxThreads];  // came, but must go on for an instant: to be called again
  int called_again = 0;
  volatile uint8_t blocks[kMaxThreads];  // the signal, when it is not called for a freeze
  void* volatile states[kMaxThreads];  // of those who stand
};
constinit World world = {};
uint64_t kernel_code = 0, kernel_code_end = 0;
constexpr long kInstantNs = 50'000;  // of which reading a clock takes a thousandth
constexpr int kCalledAgainMost = 2000;

bool alone() { return !&__libc_single_threaded || __libc_single_threaded; }

void futex_wait(volatile uint32_t* word, uint32_t value, const timespec* timeout) {
  raw::sys(SYS_futex, const_cast<uint32_t*>(word), FUTEX_WAIT_PRIVATE, value, timeout, 0, 0);
}
void futex_wake(volatile uint32_t* word) {
  raw::sys(SYS_futex, const_cast<uint32_t*>(word), FUTEX_WAKE_PRIVATE, 0x7fffffff, 0, 0, 0);
}

// Calls f(thread id) for every thread but this one.
template <class F>
void for_each_other_thread(F f) {
  struct Entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
  };
  int self = static_cast<int>(raw::gettid());
  long folder = raw::sys(SYS_open, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (folder < 0) return;
  alignas(8) char buffer[4096];
  for (;;) {
    long n = raw::sys(SYS_getdents64, folder, buffer, sizeof buffer);
    if (n <= 0) break;
    for (long at = 0; at < n;) {
      auto* entry = reinterpret_cast<Entry*>(buffer + at);
      at += entry->length;
      int id = 0;
      for (const char* p = entry->name; *p >= '0' && *p <= '9'; ++p) id = id * 10 + (*p - '0');
      if (id > 0 && id != self) f(id);
    }
  }
  raw::close(static_cast<int>(folder));
}

enum class Coming { kYes, kEnded, kBlocked };

Coming will_come(int id) {
  char text[4096];
  if (!read_status(id, text, sizeof text)) return Coming::kEnded;
  for (const char* line = text; *line; ++line) {
    if (strncmp(line, "State:\tZ", 8) == 0 || strncmp(line, "State:\tX", 8) == 0) return Coming::kEnded;
    if (strncmp(line, "SigBlk:\t", 8) == 0) {
      // 16 hexadecimal digits, signal 64 first.
      char digit = line[8 + (64 - wire::kControlSignal) / 4];
      int value = digit >= 'a' ? digit - 'a' + 10 : digit - '0';
      return value >> ((wire::kControlSignal - 1) % 4) & 1 ? Coming::kBlocked : Coming::kYes;
    }
    while (*line && *line != '\n') ++line;
    if (!*line) break;
  }
  return Coming::kYes;
}

// True when there was somebody new. A thread that is not yet here may start another.
bool call_others() {
  bool somebody = false;
  long pid = raw::getpid();
  for_each_other_thread([&](int id) {
    for (int i = 0; i < world.count; ++i)
      if (world.ids[i] == id) return;
    if (world.count == kMaxThreads) return;
    world.ids[world.count] = id;
    __atomic_add_fetch(&world.count, 1, __ATOMIC_SEQ_CST);
    raw::sys(SYS_tgkill, pid, id, wire::kControlSignal);
    somebody = true;
  });
  return somebody;
}

// Calls those again that were in the kernel's code.
void call_again() {
  bool any = false;
  for (int i = 0; i < world.count; ++i) any |= world.in_kernel_code[i] != 0;
  if (!any) return;
  timespec instant{0, kInstantNs};
  raw::sys(SYS_nanosleep, &instant, 0);
  ++world.called_again;
  long pid = raw::getpid();
  for (int i = 0; i < world.count; ++i)
    if (world.in_kernel_code[i]) {
      world.in_kernel_code[i] = 0;
      raw::sys(SYS_tgkill, pid, world.ids[i], wire::kControlSignal);
    }
}

// What it has read there of this node's clock must not meet another node's offset. True: it is to go on and will be called again.
bool reads_a_clock(const ucontext_t* context) {
  auto at = static_cast<uint64_t>(context->uc_mcontext.gregs[REG_RIP]);
  if (at < kernel_code || at >= kernel_code_end || world.called_again >= kCalledAgainMost) return false;
  int self = static_cast<int>(raw::gettid());
  for (int i = 0; i < world.count; ++i)
    if (world.ids[i] == self) world.in_kernel_code[i] = 1;
  __atomic_add_fetch(&world.arrived, 1, __ATOMIC_SEQ_CST);
  futex_wake(&world.arrived);
  return true;
}

}  // namespace

void (*hold_hook)(uint32_t);

void find_kernel_code(uint64_t vdso) {
  auto* head = reinterpret_cast<const Elf64_Ehdr*>(vdso);
  if (!head) return;
  kernel_code = vdso;
  auto* segments = reinterpret_cast<const Elf64_Phdr*>(kernel_code + head->e_phoff);
  for (int i = 0; i < head->e_phnum; ++i)
    if (segments[i].p_type == PT_LOAD) kernel_code_end = kernel_code + segments[i].p_offset + segments[i].p_memsz;
}

bool read_status(int id, char* text, unsigned long size) {
  char path[64] = "/proc/self/task/", digits[16];
  int n = 0;
  for (int rest = id; rest; rest /= 10) digits[n++] = static_cast<char>('0' + rest % 10);
  char* p = path + strlen(path);
  while (n) *p++ = digits[--n];
  memcpy(p, "/status", 8);
  long fd = raw::sys(SYS_open, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return false;
  long length = raw::read(static_cast<int>(fd), text, size - 1);
  raw::close(static_cast<int>(fd));
  if (length <= 0) return false;
  text[length] = 0;
  return true;
}

void stop_world(bool surely) {
  if (world.stopping & 1 || (alone() && !surely)) return;
  world.stopper = static_cast<int>(raw::gettid());
  world.count = 0;
  world.arrived = 0;
  memset(const_cast<uint8_t*>(world.here), 0, sizeof world.here);
  memset(const_cast<uint8_t*>(world.blocks), 0, sizeof world.blocks);
  memset(const_cast<uint8_t*>(world.in_kernel_code), 0, sizeof world.in_kernel_code);
  world.called_again = 0;
  for (auto& state : world.states) state = nullptr;
  __atomic_add_fetch(&world.stopping, 1, __ATOMIC_SEQ_CST);
  int settled = 0;
  // Round until nobody is new and everybody has come.
  while (call_others()) {
    for (;;) {
      uint32_t arrived = world.arrived;
      call_again();
      settled = 0;
      for (int i = 0; i < world.count; ++i) settled += world.here[i];
      if (settled == world.count) break;
      timespec limit{0, kLookAgainNs};
      futex_wait(&world.arrived, arrived, &limit);
      if (world.arrived != arrived) continue;
      for (int i = 0; i < world.count; ++i)
        if (!world.here[i] && will_come(world.ids[i]) != Coming::kYes) world.here[i] = 1;
    }
  }
}

void resume_world() {
  if (!(world.stopping & 1)) return;
  __atomic_add_fetch(&world.stopping, 1, __ATOMIC_SEQ_CST);
  futex_wake(&world.stopping);
}

int absent_thread(int limit_ms) {
  constexpr int kLookAgainMs = kLookAgainNs / 1'000'000;
  int absent = 0;
  for (int waited = 0; waited <= limit_ms; waited += kLookAgainMs) {
    uint32_t arrived = world.arrived;
    bool somebody_new = call_others();
    call_again();
    absent = 0;
    for (int i = 0; i < world.count; ++i)
      if (!world.states[i] && will_come(world.ids[i]) != Coming::kEnded) absent = world.ids[i];
    if (!absent && !somebody_new) return 0;
    timespec limit{0, kLookAgainNs};
    futex_wait(&world.arrived, arrived, &limit);
  }
  return absent;
}

void for_each_held(void (*f)(void*)) {
  for (int i = 0; i < world.count; ++i)
    if (world.states[i]) f(world.states[i]);
}

bool blocks_signal(int id) { return will_come(id) == Coming::kBlocked; }

void must_block_again(int id) {
  for (int i = 0; i < world.count; ++i)
    if (world.ids[i] == id) world.blocks[i] = 1;
}

bool held_in_handler(ucontext_t* context) {
  uint32_t stopping = world.stopping;
  bool deaf = false;  // it would not hear a second call
  for (int i = 0; i < world.count; ++i) {
    if (!world.blocks[i] || world.ids[i] != raw::gettid()) continue;
    sigset_t& mask = context->uc_sigmask;
    uint64_t bits;
    memcpy(&bits, &mask, sizeof bits);
    bits |= uint64_t{1} << (wire::kControlSignal - 1);
    memcpy(&mask, &bits, sizeof bits);
    world.blocks[i] = 0;
    deaf = true;
  }
  if (!(stopping & 1) || world.stopper == raw::gettid()) return false;
  if (!deaf && reads_a_clock(context)) return true;
  if (hold_hook) hold_hook(stopping);
  else stand_still(stopping, &world);
  return true;
}

void stand_still(uint32_t stopping, void* state) {
  int self = static_cast<int>(raw::gettid());
  for (int i = 0; i < world.count; ++i) {
    if (world.ids[i] != self) continue;
    world.states[i] = state;
    world.here[i] = 1;
  }
  __atomic_add_fetch(&world.arrived, 1, __ATOMIC_SEQ_CST);
  futex_wake(&world.arrived);
  while (world.stopping == stopping) futex_wait(&world.stopping, stopping, nullptr);
}

void announce_change() {
  __atomic_add_fetch(&rt.epoch, 1, __ATOMIC_SEQ_CST);
  futex_wake(&rt.epoch);
  if (alone() || (world.stopping & 1)) return;  // those who stand in the handler look again when they are let go
  long pid = raw::getpid();
  for_each_other_thread([&](int id) { raw::sys(SYS_tgkill, pid, id, wire::kControlSignal); });
}

}  // namespace msocket::transport
