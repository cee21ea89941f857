// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// File locks: flock, POSIX (F_SETLK) and those of open file descriptions (F_OFD_SETLK). The old process lets go of them when all of
// its image is out, the new one takes them before it says that it is restored, and so before the commit. If somebody else
// was faster the move is called off, and the old process waits until it has its locks again. See doc/migration.md.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"

namespace msocket::checkpoint {

namespace {

constexpr int kMax = 256;

enum class Kind { kFlock, kPosix, kDescription };
struct Lock {
  int fd;
  Kind kind;
  bool write;
  int64_t start, length;  ///< length 0: to the end
  uint64_t inode;
};
Lock list[kMax];
int count;
bool released;
char text[32768];  // of /proc/locks, or one fdinfo

void begin() {
  count = 0;
  released = false;
}

void refuse(Refusal* why, int fd, const char* reason) {
  char link[64], path[256];
  number_path("/proc/self/fd/", fd, link);
  long n = raw::sys(SYS_readlink, link, path, sizeof path - 1);
  path[n < 0 ? 0 : n] = 0;
  why->add("descriptor ");
  why->add(static_cast<long>(fd));
  why->add(" is ");
  why->add(path);
  why->add(reason);
}

// "POSIX  ADVISORY  WRITE 1234 fd:01:5678 0 EOF", as in /proc/locks. False: a lease, or nothing that is known here.
bool parse(const char* at, Lock* lock) {
  if (take_word(&at, "POSIX")) lock->kind = Kind::kPosix;
  else if (take_word(&at, "FLOCK")) lock->kind = Kind::kFlock;
  else if (take_word(&at, "OFDLCK")) lock->kind = Kind::kDescription;
  else return false;
  if (!take_word(&at, "ADVISORY")) return false;
  lock->write = take_word(&at, "WRITE");
  if (!lock->write && !take_word(&at, "READ")) return false;
  take_number(&at, 10);
  skip_blanks(&at);
  take_number(&at, 16);
  take_word(&at, ":");
  take_number(&at, 16);
  take_word(&at, ":");
  lock->inode = static_cast<uint64_t>(take_number(&at, 10));
  skip_blanks(&at);
  lock->start = take_number(&at, 10);
  skip_blanks(&at);
  lock->length = take_word(&at, "EOF") ? 0 : take_number(&at, 10) - lock->start + 1;
  return true;
}

bool known(const Lock& lock) {
  for (int i = 0; i < count; ++i) {
    const Lock& other = list[i];
    if (other.inode != lock.inode || other.kind != lock.kind || other.start != lock.start || other.length != lock.length) continue;
    if (lock.kind == Kind::kPosix || same_description(other.fd, lock.fd)) return true;
  }
  return false;
}

// A POSIX lock is told of under each descriptor of the file; only some may ask for it.
bool may_ask(const Lock& lock) {
  long mode = raw::fcntl(lock.fd, F_GETFL) & O_ACCMODE;
  return lock.kind == Kind::kFlock || mode == O_RDWR || mode == (lock.write ? O_WRONLY : O_RDONLY);
}

void look_at(int fd, Refusal* why) {
  if (!read_fdinfo(fd, text, sizeof text)) return;
  for (const char* at = text; (at = strstr(at, "lock:\t"));) {
    at += 6;
    Lock lock{};
    lock.fd = fd;
    const char* words = strstr(at, ": ");
    if (!words) return;
    words += 2;
    if (!parse(words, &lock)) {
      refuse(why, fd, ", which has a lease or a lock of unknown kind");
      why->end();
      return;
    }
    if (known(lock) || !may_ask(lock)) continue;
    if (count == kMax) {
      refuse(why, fd, ", one lock too many");
      why->end();
      return;
    }
    list[count++] = lock;
  }
}

// Who waits for one of ours would get it in between.
void look_for_waiters(Refusal* why) {
  if (read_text("/proc/locks", text, sizeof text) <= 0) return;
  for (const char* at = text; *at; at = next_line(at)) {
    const char* arrow = strstr(at, "-> ");
    const char* end = next_line(at);
    if (!arrow || arrow >= end) continue;
    Lock waiter{};
    if (!parse(arrow + 3, &waiter)) continue;
    for (int i = 0; i < count; ++i) {
      if (list[i].inode != waiter.inode) continue;
      refuse(why, list[i].fd, ", which it has locked, and another process waits for the lock");
      why->end();
      break;
    }
  }
}

void look(Refusal* why) {
  each_number("/proc/self/fd", [&](int fd) { look_at(fd, why); });
  if (count) look_for_waiters(why);
}

enum class Do { kTry, kWait, kRelease };

long ask(const Lock& lock, Do what) {
  if (lock.kind == Kind::kFlock) {
    int operation = what == Do::kRelease ? LOCK_UN : lock.write ? LOCK_EX : LOCK_SH;
    return raw::sys(SYS_flock, lock.fd, what == Do::kTry ? operation | LOCK_NB : operation);
  }
  struct flock range {};
  range.l_type = static_cast<short>(what == Do::kRelease ? F_UNLCK : lock.write ? F_WRLCK : F_RDLCK);
  range.l_whence = SEEK_SET;
  range.l_start = lock.start;
  range.l_len = lock.length;
  bool description = lock.kind == Kind::kDescription;
  int command = what == Do::kWait ? (description ? F_OFD_SETLKW : F_SETLKW) : (description ? F_OFD_SETLK : F_SETLK);
  return raw::fcntl(lock.fd, command, reinterpret_cast<long>(&range));
}

void let_go() {
  for (int i = 0; i < count; ++i) ask(list[i], Do::kRelease);
  released = true;
}

void give_back() {
  for (int i = 0; released && i < count; ++i)
    while (ask(list[i], Do::kWait) == -EINTR) {
    }
  released = false;
}

bool restore(Refusal* why) {
  released = false;
  for (int i = 0; i < count; ++i) {
    if (ask(list[i], Do::kTry) == 0) continue;
    refuse(why, list[i].fd, ", and another process has taken its lock");
    return false;
  }
  return true;
}

}  // namespace

extern const Resource locks;
const Resource locks{.begin = begin, .look = look, .let_go = let_go, .give_back = give_back, .restore = restore};

}  // namespace msocket::checkpoint
