// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What can be opened again by its path: regular files, directories, harmless devices, /proc and /sys. With all modes and flags, the
// offset, and who shares it with whom.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <initializer_list>

#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"

namespace msocket::checkpoint {

namespace {

constexpr int kMax = 256;
constexpr long kProcMagic = 0x9fa0, kMessageQueueMagic = 0x19800202;  // <linux/magic.h>

struct File {
  int fd;
  int same_as;  ///< another one, whose offset it shares; -1: none
  int flags;
  bool close_on_exec, regular;
  uint64_t device, inode;
  int64_t offset, size;
  char path[280];
};
File list[kMax];
int count;

bool harmless_device(const char* path) {
  for (const char* ok : {"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random"})
    if (strcmp(path, ok) == 0) return true;
  return false;
}

void begin() { count = 0; }

// /proc/PID/... of this process is the new one's there; of another process it is nobody's.
const char* why_not_proc(File* file) {
  if (!begins_with(file->path, "/proc/") || file->path[6] < '0' || file->path[6] > '9') return nullptr;
  const char* at = file->path + 6;
  if (take_number(&at, 10) != raw::getpid()) return ", which tells of another process";
  char rest[sizeof file->path];
  memcpy(rest, at, strlen(at) + 1);
  memcpy(file->path, "/proc/self", 10);
  memcpy(file->path + 10, rest, strlen(rest) + 1);
  return strstr(rest, "/task/") ? ", which tells of one thread" : nullptr;
}

const char* why_not(const Descriptor& d, File* file) {
  if (!d.path_whole) return ", a path too long to carry";
  if (count == kMax) return ", one open file too many";
  struct statfs fs;
  if (raw::sys(SYS_fstatfs, d.fd, &fs) != 0) fs.f_type = 0;
  if (fs.f_type == kMessageQueueMagic) return ", a message queue of this node";
  if (fs.f_type == kProcMagic) return why_not_proc(file);
  struct stat now;
  if (raw::sys(SYS_stat, d.path, &now) != 0) return ", which cannot be reached by that path";
  if (now.st_ino != d.st.st_ino || now.st_dev != d.st.st_dev) return ", and that path leads to another file now";
  return nullptr;
}

bool claim(const Descriptor& d, Refusal* why) {
  if (d.path[0] != '/') return false;
  bool regular = S_ISREG(d.st.st_mode) || S_ISDIR(d.st.st_mode);
  if (!regular && !(S_ISCHR(d.st.st_mode) && harmless_device(d.path))) return false;
  if (d.st.st_nlink == 0 || ends_with(d.path, " (deleted)")) return false;
  File scratch, &file = count < kMax ? list[count] : scratch;
  file = {d.fd, -1, d.flags, d.close_on_exec, regular, static_cast<uint64_t>(d.st.st_dev), d.st.st_ino, 0,
          S_ISREG(d.st.st_mode) ? d.st.st_size : 0, {}};
  memcpy(file.path, d.path, sizeof file.path);
  if (const char* problem = why_not(d, &file)) {
    refuse_descriptor(why, d, problem);
    return true;
  }
  int64_t offset = regular ? raw::sys(SYS_lseek, d.fd, 0, SEEK_CUR) : 0;
  file.offset = offset < 0 ? 0 : offset;
  for (int i = 0; i < count && file.same_as < 0; ++i)
    if (list[i].inode == file.inode && list[i].device == file.device && same_description(list[i].fd, d.fd)) file.same_as = i;
  ++count;
  return true;
}

bool refuse(Refusal* why, const char* begin, const char* path, const char* end = "") {
  why->add(begin);
  why->add(path);
  why->add(end);
  return false;
}

bool restore(Refusal* why) {
  for (int i = 0; i < count; ++i) {
    const File& file = list[i];
    if (file.same_as >= 0) {
      if (raw::dup3(list[file.same_as].fd, file.fd, file.close_on_exec ? O_CLOEXEC : 0) < 0)
        return refuse(why, "no descriptors left for ", file.path);
      continue;
    }
    int mode = file.flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_ASYNC);
    long fd = raw::sys(SYS_openat, AT_FDCWD, file.path, mode | O_CLOEXEC | O_NOCTTY, 0);
    if (fd < 0) return refuse(why, fd == -ENOENT ? "no file " : "cannot open ", file.path);
    struct stat st;
    if (file.size && raw::sys(SYS_fstat, fd, &st) == 0 && st.st_size < file.size) {
      why->add("the file ");
      why->add(file.path);
      why->add(" has ");
      why->add(static_cast<long>(st.st_size));
      why->add(" bytes here instead of ");
      why->add(static_cast<long>(file.size));
      return false;
    }
    if (!put_at(fd, file.fd, file.close_on_exec)) return refuse(why, "no descriptors left for ", file.path);
    if (file.offset > 0) raw::sys(SYS_lseek, file.fd, file.offset, SEEK_SET);
  }
  return true;
}

void needs(const Needs& to) {
  for (int i = 0; i < count; ++i)
    if (list[i].regular && list[i].same_as < 0) to.file(list[i].path, list[i].flags, list[i].size);
}

}  // namespace

extern const Resource files;
const Resource files{.begin = begin, .claim = claim, .restore = restore, .needs = needs};

}  // namespace msocket::checkpoint
