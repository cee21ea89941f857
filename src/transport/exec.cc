// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/exec.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <initializer_list>

#include "src/transport/drain.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/transport/udp.h"
#include "src/transport/vsocket.h"

namespace msocket::transport {

namespace {

constexpr char kName[] = "msocket-exec";
constexpr int kFirstNumber = wire::kControlFd + 1, kLastNumber = kFirstNumber + 15;  // where the memfd is looked for
constexpr uint32_t kMagic = 0x6d736578;  // "msex"
constexpr uint32_t kVersion = 1;
constexpr int kMaxRegions = 16;

struct Region {
  void* memory;
  uint32_t size;
} regions[kMaxRegions];
int region_count;

struct Header {
  uint32_t magic = kMagic, version = kVersion;
  uint32_t socket_size = sizeof(VSocket), runtime_size = sizeof(Runtime);
  uint32_t region_bytes = 0, pad = 0;
  uint64_t mask = 0;  ///< the program's signal mask
};

int state_fd = -1;
uint64_t mask_before;

// As SignalsWait does; but the next program has them until it has taken over.
void block_others() { raw::sys(SYS_rt_sigprocmask, SIG_BLOCK, &kOtherSignals, &mask_before, 8); }
void unblock() { raw::sys(SYS_rt_sigprocmask, SIG_SETMASK, &mask_before, nullptr, 8); }

uint32_t region_bytes() {
  uint32_t all = 0;
  for (int i = 0; i < region_count; ++i) all += regions[i].size;
  return all;
}

// ---- will the next program have this library in it?

bool contains(const char* text, const char* word) { return strstr(text, word) != nullptr; }

bool environment_leads_here(char* const* environment) {
  bool control = false, preload = false;
  for (; environment && *environment; ++environment) {
    control |= strncmp(*environment, "MSOCKET_CONTROL=", 16) == 0;
    preload |= strncmp(*environment, "LD_PRELOAD=", 11) == 0 && contains(*environment, "libmsocket-preload.so");
  }
  return control && preload;
}

// Dynamically linked, and not one in which the loader ignores LD_PRELOAD. Of a script that is its interpreter.
bool loads_libraries(const char* path, int depth = 0) {
  struct stat st;
  char head[4096];
  long fd = raw::sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool regular = raw::sys(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode) && !(st.st_mode & (S_ISUID | S_ISGID));
  long size = regular ? raw::read(static_cast<int>(fd), head, sizeof head - 1) : -1;
  raw::close(static_cast<int>(fd));
  if (size >= 3 && head[0] == '#' && head[1] == '!') {
    head[size] = 0;
    char* at = head + 2;
    while (*at == ' ' || *at == '\t') ++at;
    char* end = at;
    while (*end && *end != ' ' && *end != '\t' && *end != '\r' && *end != '\n') ++end;
    *end = 0;
    return depth < 4 && *at && loads_libraries(at, depth + 1);
  }
  Elf64_Ehdr elf;
  if (size < static_cast<long>(sizeof elf)) return false;
  memcpy(&elf, head, sizeof elf);
  if (memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_ident[EI_CLASS] != ELFCLASS64) return false;
  for (unsigned i = 0; i < elf.e_phnum && elf.e_phentsize == sizeof(Elf64_Phdr); ++i) {
    Elf64_Phdr program;
    uint64_t from = elf.e_phoff + i * sizeof program;
    if (elf.e_phoff > sizeof head || from + sizeof program > static_cast<uint64_t>(size)) break;
    memcpy(&program, head + from, sizeof program);
    if (program.p_type == PT_INTERP) return true;
  }
  return false;
}

// ---- the state, on its way out

bool stays_open(int fd) { return !(raw::fcntl(fd, F_GETFD) & FD_CLOEXEC); }

template <class F>
void for_each_own(const VSocket* vs, F f) {
  for (int fd : {vs->old_fd, vs->option_fd, vs->quiet_fd, vs->unaccepted ? vs->fd : -1})
    if (fd >= 0) f(fd);
}

bool survives(const VSocket* vs) {
  bool found = false;
  if (vs->numbers) for_each_number(vs, [&](int fd) { found |= stays_open(fd); });
  if (vs->unaccepted)
    for_each_vsocket([&](const VSocket* listener) {
      if (listener->state == ConnState::kListening && listener->local.port == vs->local.port && listener->numbers)
        for_each_number(listener, [&](int fd) { found |= stays_open(fd); });
    });
  return found;
}

template <class F>
void for_each_survivor(F f) {
  for_each_vsocket([&](VSocket* vs) {
    if (survives(vs)) f(vs);
  });
}

bool put(const void* data, size_t size) { return raw::write_all(state_fd, data, size) == 0; }
bool put_buffer(const InBuffer& buffer) {
  uint64_t size = buffer.size();
  return put(&size, sizeof size) && (size == 0 || put(buffer.data(), size));
}

bool put_socket(const VSocket* vs) {
  uint32_t count = 0;
  bool good = put(vs, sizeof *vs);
  auto goes_along = [&](int fd) { return vs->unaccepted || stays_open(fd); };
  if (vs->numbers) for_each_number(vs, [&](int fd) { count += goes_along(fd); });
  good = good && put(&count, sizeof count);
  if (vs->numbers)
    for_each_number(vs, [&](int fd) {
      if (goes_along(fd)) good = good && put(&fd, sizeof fd);
    });
  return good && put_buffer(vs->in) && put_buffer(vs->out);
}

bool write_state() {
  Header header;
  header.region_bytes = region_bytes();
  header.mask = mask_before;
  bool good = put(&header, sizeof header) && put(&rt, sizeof rt);
  for (int i = 0; i < region_count; ++i) good = good && put(regions[i].memory, regions[i].size);
  good = good && save_replays(put);
  for_each_survivor([&](VSocket* vs) { good = good && put_socket(vs); });
  return good;
}

void keep_open(int fd, bool keep) { raw::fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC); }

void keep_own(bool keep) {
  for_each_survivor([&](VSocket* vs) { for_each_own(vs, [&](int fd) { keep_open(fd, keep); }); });
  keep_open(rt.control_fd, keep);
}

// ---- and in

bool get(void* data, size_t size) { return raw::read_all(state_fd, data, size) == 0; }
bool get_buffer(InBuffer& buffer) {
  uint64_t size;
  if (!get(&size, sizeof size)) return false;
  if (size == 0) return true;
  char* room = buffer.reserve(size);
  if (!room || !get(room, size)) return false;
  buffer.added(size);
  return true;
}

// 1: one more; 0: that was all; -1: damaged.
int get_socket() {
  VSocket saved;
  long n = raw::read(state_fd, &saved, sizeof saved);
  if (n == 0) return 0;
  VSocket* vs = n == sizeof saved ? allocate_vsocket() : nullptr;
  if (!vs) return -1;
  InBuffer none;
  memcpy(static_cast<void*>(vs), &saved, sizeof saved);
  vs->in = vs->out = none;
  vs->watches = nullptr;
  vs->saved = nullptr;
  vs->next_free = nullptr;
  for_each_own(vs, [](int fd) {
    keep_open(fd, false);
    mark_own(fd);
  });
  vs->numbers = 0;
  vs->fd = -1;
  uint32_t count;
  if (!get(&count, sizeof count)) return -1;
  for (uint32_t i = 0; i < count; ++i) {
    int fd;
    if (!get(&fd, sizeof fd)) return -1;
    attach(fd, vs);
  }
  if (!get_buffer(vs->in) || !get_buffer(vs->out)) return -1;
  refresh(vs);
  return 1;
}

bool find_state() {
  for (int fd = kFirstNumber; fd <= kLastNumber; ++fd) {
    char path[32] = "/proc/self/fd/", link[64];
    size_t at = strlen(path);
    for (int tens = 1000; tens; tens /= 10) path[at++] = static_cast<char>('0' + fd / tens % 10);
    long n = raw::sys(SYS_readlink, path, link, sizeof link - 1);
    if (n <= 0) continue;
    link[n] = 0;
    if (contains(link, kName)) {
      state_fd = fd;
      return true;
    }
  }
  return false;
}

bool read_state() {
  Header header, mine;
  mine.region_bytes = region_bytes();
  raw::sys(SYS_lseek, state_fd, 0, SEEK_SET);
  if (!get(&header, sizeof header) || header.magic != mine.magic || header.version != mine.version ||
      header.socket_size != mine.socket_size || header.runtime_size != mine.runtime_size || header.region_bytes != mine.region_bytes)
    return false;
  mask_before = header.mask;
  if (!get(&rt, sizeof rt)) return false;
  rt.lock = 1;
  rt.active = true;
  for (int i = 0; i < region_count; ++i)
    if (!get(regions[i].memory, regions[i].size)) return false;
  if (!load_replays(get)) return false;
  int more;
  do more = get_socket();
  while (more > 0);
  return more == 0;
}

}  // namespace

void goes_over_exec(void* memory, size_t size) {
  if (region_count < kMaxRegions) regions[region_count++] = {memory, static_cast<uint32_t>(size)};
}

bool begin_exec(const char* path, char* const* environment) {
  // In a child of vfork() all of this memory is the parent's.
  if (!rt.active || raw::getpid() != rt.pid || !environment_leads_here(environment) || !loads_libraries(path)) return false;
  for (;;) {
    block_others();
    lock();
    uint32_t epoch = rt.epoch;
    drain_all();
    if (stands_still() && may_freeze() && !rt.freeze_wanted) break;
    unlock();
    unblock();
    wait_for_change(epoch, -1);
  }
  long fd = raw::sys(SYS_memfd_create, kName, MFD_CLOEXEC);
  long number = fd < 0 ? fd : raw::fcntl(static_cast<int>(fd), F_DUPFD, kFirstNumber);
  if (fd >= 0) raw::close(static_cast<int>(fd));
  state_fd = static_cast<int>(number);
  if (number < 0 || number > kLastNumber || !write_state()) {
    if (number >= 0) raw::close(state_fd);
    state_fd = -1;
    unlock();
    unblock();
    return false;
  }
  ignore_control_signal();
  keep_own(true);
  return true;
}

void exec_failed() {
  raw::close(state_fd);
  state_fd = -1;
  keep_own(false);
  install_handler();
  rt.pending = 1;  // what came meanwhile
  unlock();
  unblock();
}

bool take_over() {
  if (!find_state()) return false;
  bool good = read_state();
  raw::close(state_fd);
  state_fd = -1;
  if (!good) {
    raw::complain("what the last program of this process left of its virtual sockets is of another version of msocket");
    raw::exit_group(1);
  }
  return true;
}

void end_take_over() {
  rt.pending = 1;
  unlock();
  unblock();
}

long do_execve(const char* path, char* const* arguments, char* const* environment) {
  bool begun = begin_exec(path, environment);
  long r = raw::sys(SYS_execve, path, arguments, environment);
  if (begun) exec_failed();
  return r;
}

}  // namespace msocket::transport
