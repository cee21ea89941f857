// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/resources.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <initializer_list>

#include "src/checkpoint/eventfds.h"
#include "src/checkpoint/pipes.h"
#include "src/checkpoint/threads.h"
#include "src/transport/exec.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/transport/vsocket.h"
#include "src/wire/control.h"

namespace msocket::checkpoint {

namespace {

constexpr int kMaxFiles = 256;
constexpr int kProvided = wire::kPmiFd + 1;
constexpr int kSignals = 64;

struct KernelSigaction {
  void* handler;
  unsigned long flags;
  void* restorer;
  uint64_t mask;
};

struct SavedFile {
  int fd;
  int provided;  ///< the daemon's stream of this number, or -1: a file
  int flags;     ///< F_GETFL
  bool close_on_exec;
  int64_t offset;
  char* content;  ///< of a file that has been deleted: nobody else can give it
  int64_t size;
  bool deleted;
  char path[280];
};

struct SavedProcess {
  SavedFile files[kMaxFiles];
  int file_count;
  KernelSigaction actions[kSignals + 1];
  struct {
    void* at;
    int flags;
    int pad;
    size_t size;
  } alternate_stack;
  itimerval timers[3];
  uint64_t pending;  ///< signals for the process: what came while all were blocked for the freeze, and what the program blocks
  unsigned umask;
  char cwd[4096];
};
SavedProcess saved;

struct {
  uint64_t device, inode;
} provided[kProvided];

struct DirectoryEntry {
  uint64_t inode;
  int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

void number_path(const char* prefix, long number, char* out) {
  size_t n = strlen(prefix);
  memcpy(out, prefix, n);
  char digits[24];
  int d = 0;
  do digits[d++] = static_cast<char>('0' + number % 10);
  while (number /= 10);
  while (d) out[n++] = digits[--d];
  out[n] = 0;
}

// Calls f(number) for each entry of a /proc directory whose name is a number.
template <class F>
long each_number(const char* directory, F f) {
  long dir = raw::sys(SYS_openat, AT_FDCWD, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return dir;
  char buffer[2048] __attribute__((aligned(8)));
  for (;;) {
    long n = raw::sys(SYS_getdents64, dir, buffer, sizeof buffer);
    if (n <= 0) break;
    for (long at = 0; at < n;) {
      auto* entry = reinterpret_cast<DirectoryEntry*>(buffer + at);
      at += entry->length;
      if (entry->name[0] < '0' || entry->name[0] > '9') continue;
      long number = 0;
      for (const char* c = entry->name; *c; ++c) number = number * 10 + (*c - '0');
      if (number != dir) f(static_cast<int>(number));
    }
  }
  raw::close(static_cast<int>(dir));
  return 0;
}

bool ends_with(const char* text, const char* end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && memcmp(text + n - m, end, m) == 0;
}

bool harmless_device(const char* path) {
  for (const char* ok : {"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random"})
    if (strcmp(path, ok) == 0) return true;
  return false;
}

bool library_owned(int fd, const int* own, int count) {
  for (int i = 0; i < count; ++i)
    if (own[i] == fd) return true;
  if (transport::kind_of(fd) != 0) return true;  // before the look at every socket, for every descriptor
  bool found = false;
  transport::for_each_vsocket([&](transport::VSocket* vs) { found |= vs->option_fd == fd || vs->old_fd == fd; });
  return found;
}

constexpr int64_t kMaxDeleted = 256 << 20;

// A temporary file that the program has unlinked. Null, or why not.
const char* take_content(int fd, int64_t size, SavedFile* file) {
  if (size > kMaxDeleted) return ", a deleted file of more than 256 MiB";
  file->size = size;
  file->deleted = true;
  char* name = strrchr(file->path, '/');  // the folder is what is needed there
  if (name) name[name == file->path ? 1 : 0] = 0;
  if (size == 0) return nullptr;
  void* at = raw::mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (raw::failed(at)) return ", a deleted file, and there is no memory for its content";
  file->content = static_cast<char*>(at);
  // The program may have opened it for writing only.
  char link[64];
  number_path("/proc/self/fd/", fd, link);
  long own = raw::sys(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
  int64_t done = 0;
  while (own >= 0 && done < size) {
    long n = raw::sys(SYS_pread64, own, file->content + done, size - done, done);
    if (n <= 0) break;
    done += n;
  }
  if (own >= 0) raw::close(static_cast<int>(own));
  return done == size ? nullptr : ", a deleted file that cannot be read";
}

// A file without a name again, with the same content. The new descriptor or -errno.
long put_content(const SavedFile& file) {
  constexpr int kPrivate = 0600;
  int flags = (file.flags & (O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC)) | O_CLOEXEC;
  long fd = raw::sys(SYS_openat, AT_FDCWD, file.path, O_TMPFILE | O_RDWR | flags, kPrivate);
  if (fd < 0) fd = raw::sys(SYS_openat, AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR | flags, kPrivate);
  if (fd < 0) fd = raw::sys(SYS_memfd_create, "msocket", MFD_CLOEXEC);
  if (fd < 0) return fd;
  for (int64_t done = 0; done < file.size;) {
    long n = raw::sys(SYS_pwrite64, fd, file.content + done, file.size - done, done);
    if (n <= 0) {
      raw::close(static_cast<int>(fd));
      return n ? n : -EIO;
    }
    done += n;
  }
  return fd;
}

void save_file(int fd, Refusal* why) {
  struct stat st;
  if (raw::sys(SYS_fstat, fd, &st) != 0) return;
  if (saved.file_count == kMaxFiles) {
    why->add("more than ");
    why->add(static_cast<long>(kMaxFiles));
    why->add(" open files");
    return;
  }
  SavedFile& file = saved.files[saved.file_count];
  file.fd = fd;
  file.provided = -1;
  file.content = nullptr;
  file.size = 0;
  file.deleted = false;
  file.flags = static_cast<int>(raw::fcntl(fd, F_GETFL));
  file.close_on_exec = raw::fcntl(fd, F_GETFD) & FD_CLOEXEC;
  for (int i = 0; i < kProvided; ++i)
    if (provided[i].inode == st.st_ino && provided[i].device == st.st_dev) file.provided = i;
  char link[64];
  number_path("/proc/self/fd/", fd, link);
  long n = raw::sys(SYS_readlink, link, file.path, sizeof file.path - 1);
  file.path[n < 0 ? 0 : n] = 0;
  if (file.provided < 0 && S_ISFIFO(st.st_mode) && memcmp(file.path, "pipe:[", 6) == 0) return note_pipe(fd, st.st_ino, why);
  if (file.provided < 0 && strcmp(file.path, "anon_inode:[eventfd]") == 0) return save_eventfd(fd, why);
  if (file.provided < 0) {
    const char* problem = nullptr;
    bool regular = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
    if (n >= static_cast<long>(sizeof file.path) - 1) problem = ", a path too long to carry";
    else if (S_ISSOCK(st.st_mode)) problem = ", a plain socket";
    else if (S_ISFIFO(st.st_mode)) problem = ", a pipe";
    else if (!regular && !(S_ISCHR(st.st_mode) && harmless_device(file.path))) problem = ", which is bound to this node";
    else if (regular && (st.st_nlink == 0 || ends_with(file.path, " (deleted)")))
      problem = S_ISDIR(st.st_mode) ? ", a deleted directory" : take_content(fd, st.st_size, &file);
    if (problem) {
      why->add("descriptor ");
      why->add(static_cast<long>(fd));
      why->add(" is ");
      why->add(file.path);
      why->add(problem);
      return;
    }
    file.offset = S_ISDIR(st.st_mode) || S_ISREG(st.st_mode) ? raw::sys(SYS_lseek, fd, 0, SEEK_CUR) : 0;
  }
  ++saved.file_count;
}

}  // namespace

void Refusal::add(const char* words) {
  size_t n = strlen(text), m = strlen(words);
  if (n + m >= sizeof text) m = sizeof text - 1 - n;
  memcpy(text + n, words, m);
  text[n + m] = 0;
}

void Refusal::add(long number) {
  char digits[32];
  number_path("", number, digits);
  add(digits);
}

namespace {
void note_stream(int which, int fd) {
  struct stat st;
  bool there = fd >= 0 && raw::sys(SYS_fstat, fd, &st) == 0;
  bool stream = there && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
  provided[which] = {stream ? static_cast<uint64_t>(st.st_dev) : 0, stream ? static_cast<uint64_t>(st.st_ino) : 0};
}
}  // namespace

void provided_go_over_exec() { transport::goes_over_exec(provided, sizeof provided); }

void note_provided() {
  for (int fd = 0; fd < kProvided; ++fd) note_stream(fd, fd);
}

bool save_resources(const int* own_fds, int own_count, Refusal* why) {
  bool alone = true;
  each_number("/proc/self/task", [&](int thread) {
    char children[96];
    number_path("/proc/self/task/", thread, children);
    memcpy(children + strlen(children), "/children", 10);
    long fd = raw::sys(SYS_openat, AT_FDCWD, children, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    char first;
    if (raw::read(static_cast<int>(fd), &first, 1) == 1) alone = false;
    raw::close(static_cast<int>(fd));
  });
  if (!alone) {
    why->add("it has child processes");
    return false;
  }
  saved.file_count = 0;
  begin_pipes();
  begin_eventfds();
  each_number("/proc/self/fd", [&](int number) {
    if (why->empty() && !library_owned(number, own_fds, own_count)) save_file(number, why);
    // In the new process the library's descriptors must not lie where the program's are.
    if (number >= transport::rt.high_from && !(transport::kind_of(number) & transport::kOwn) && number < wire::kControlFd)
      transport::rt.high_from = number + 1;
  });
  if (!why->empty() || !save_pipes(why)) return false;
  for (int sig = 1; sig <= kSignals; ++sig) raw::sys(SYS_rt_sigaction, sig, nullptr, &saved.actions[sig], 8);
  raw::sys(SYS_sigaltstack, nullptr, &saved.alternate_stack);
  for (int i = 0; i < 3; ++i) raw::sys(SYS_getitimer, i, &saved.timers[i]);
  saved.pending = process_pending();
  saved.umask = static_cast<unsigned>(raw::sys(SYS_umask, 0));
  raw::sys(SYS_umask, saved.umask);
  if (raw::sys(SYS_getcwd, saved.cwd, sizeof saved.cwd) <= 0) {
    why->add("its working directory has been removed");
    return false;
  }
  return true;
}

void forget_resources() {
  for (int i = 0; i < saved.file_count; ++i) {
    SavedFile& file = saved.files[i];
    if (file.content) raw::munmap(file.content, static_cast<size_t>(file.size));
    file.content = nullptr;
  }
  saved.file_count = 0;
  forget_pipes();
}

bool restore_resources(Refusal* why) {
  if (raw::sys(SYS_chdir, saved.cwd) != 0) {
    why->add("no directory ");
    why->add(saved.cwd);
    return false;
  }
  raw::sys(SYS_umask, saved.umask);
  // The daemon's streams first: park them high, then put each where the program has it.
  int stream[kProvided];
  for (int i = 0; i < kProvided; ++i) {
    stream[i] = static_cast<int>(raw::fcntl(i, F_DUPFD_CLOEXEC, transport::rt.high_from));
    raw::close(i);
    note_stream(i, stream[i]);
  }
  for (int i = 0; i < saved.file_count; ++i) {
    const SavedFile& file = saved.files[i];
    long fd;
    if (file.provided >= 0) {
      fd = stream[file.provided];
      if (fd < 0) continue;
      raw::dup3(static_cast<int>(fd), file.fd, file.close_on_exec ? O_CLOEXEC : 0);
      raw::fcntl(file.fd, F_SETFL, file.flags & (O_NONBLOCK | O_APPEND));
      continue;
    }
    int mode = file.flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY);
    fd = file.deleted ? put_content(file) : raw::sys(SYS_openat, AT_FDCWD, file.path, mode | O_CLOEXEC, 0);
    if (fd < 0) {
      why->add(fd == -ENOENT ? "no file " : "cannot open ");
      why->add(file.path);
      return false;
    }
    if (fd != file.fd) {
      raw::dup3(static_cast<int>(fd), file.fd, file.close_on_exec ? O_CLOEXEC : 0);
      raw::close(static_cast<int>(fd));
    } else if (!file.close_on_exec) {
      raw::fcntl(file.fd, F_SETFD, 0);
    }
    if (file.offset > 0) raw::sys(SYS_lseek, file.fd, file.offset, SEEK_SET);
  }
  for (int fd : stream)
    if (fd >= 0) raw::close(fd);
  if (!restore_pipes(why) || !restore_eventfds(why)) return false;
  for (int sig = 1; sig <= kSignals; ++sig) raw::sys(SYS_rt_sigaction, sig, &saved.actions[sig], nullptr, 8);
  raw::sys(SYS_sigaltstack, &saved.alternate_stack, nullptr);
  forget_resources();
  for (int i = 0; i < 3; ++i) {
    itimerval timer = saved.timers[i];
    // One that has run down and waits for its signal to be taken before it starts again. 0 would end it.
    if (!timer.it_value.tv_sec && !timer.it_value.tv_usec && (timer.it_interval.tv_sec || timer.it_interval.tv_usec))
      timer.it_value.tv_usec = 1;
    raw::sys(SYS_setitimer, i, &timer, nullptr);
  }
  for (int sig = 1; sig <= kSignals; ++sig)
    if (sig != wire::kControlSignal && (saved.pending >> (sig - 1) & 1)) raw::sys(SYS_kill, raw::getpid(), sig);
  return true;
}

}  // namespace msocket::checkpoint
