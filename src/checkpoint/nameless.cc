// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Memory and files that no path leads to, but that have descriptors or shared mappings: memfds (with their seals), deleted files,
// shared anonymous memory. What has a descriptor is mapped privately for the freeze, so that its content travels as any memory
// does; what is only mapped travels by its mapping. In the new process each gets a new memfd or an unnamed file, and the
// descriptors and mappings that were of one object are again.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "src/checkpoint/maps.h"
#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"
#include "src/transport/runtime.h"

namespace msocket::checkpoint {

namespace {

constexpr int kMaxObjects = 128, kMaxUses = 256, kMaxMaps = 256;
constexpr int64_t kMostContent = int64_t{1} << 30;
constexpr int kGetSeals = 1034, kAddSeals = 1033;  // F_GET_SEALS, F_ADD_SEALS
constexpr long kNoSealing = 1, kWriteSeal = 8;     // F_SEAL_SEAL alone: made without MFD_ALLOW_SEALING

struct Object {
  uint64_t device, inode;
  int64_t size;
  unsigned mode;
  long seals;      ///< of a memfd
  int fd;          ///< one of its descriptors; -1: it is only mapped
  bool memory;     ///< a memfd or shared anonymous memory, not a file
  char* content;   ///< a private mapping of all of it, for the freeze
  char name[280];  ///< a memfd's; of a file the folder it was in
};
struct Use {
  int fd, object, same_as, flags;
  bool close_on_exec;
  int64_t offset;
};
struct View {
  uint64_t start, end, offset;
  uint32_t prot;
  int object;
};
Object objects[kMaxObjects];
Use uses[kMaxUses];
View views[kMaxMaps];
int object_count, use_count, view_count, described;  // `described`: objects that have descriptors come first

Object* object_of(uint64_t device, uint64_t inode) {
  for (int i = 0; i < object_count; ++i)
    if (objects[i].device == device && objects[i].inode == inode) return &objects[i];
  if (object_count == kMaxObjects) return nullptr;
  Object* fresh = &objects[object_count++];
  *fresh = {device, inode, 0, 0600, kNoSealing, -1, true, nullptr, {}};
  return fresh;
}

void begin() { object_count = use_count = view_count = described = 0; }

void begin_maps() {
  view_count = 0;
  object_count = described;
}

void set_name(Object* object, const char* path, uint32_t length) {
  constexpr char kEnd[] = " (deleted)", kMemory[] = "/memfd:";
  constexpr uint32_t kEndLength = sizeof kEnd - 1, kMemoryLength = sizeof kMemory - 1;
  if (length >= sizeof object->name) length = sizeof object->name - 1;
  if (length >= kEndLength && memcmp(path + length - kEndLength, kEnd, kEndLength) == 0) length -= kEndLength;
  object->memory = length >= kMemoryLength && memcmp(path, kMemory, kMemoryLength) == 0;
  if (object->memory) path += kMemoryLength, length -= kMemoryLength;
  memcpy(object->name, path, length);
  object->name[length] = 0;
  if (object->memory) return;
  char* slash = strrchr(object->name, '/');
  if (slash) slash[slash == object->name ? 1 : 0] = 0;
}

const char* why_not(const Descriptor& d) {
  constexpr long kMessageQueueMagic = 0x19800202;  // <linux/magic.h>
  struct statfs fs;
  if (raw::sys(SYS_fstatfs, d.fd, &fs) == 0 && fs.f_type == kMessageQueueMagic) return ", a message queue of this node";
  if (!d.path_whole) return ", a path too long to carry";
  if (d.st.st_size > kMostContent) return ", a deleted file of more than 1 GiB";
  if (d.st.st_nlink != 0) return ", a deleted file that has other names";
  if (use_count == kMaxUses) return ", one deleted file too many";
  return nullptr;
}

bool claim(const Descriptor& d, Refusal* why) {
  if (!S_ISREG(d.st.st_mode) || d.path[0] != '/') return false;
  if (d.st.st_nlink != 0 && !ends_with(d.path, " (deleted)")) return false;
  const char* problem = why_not(d);
  Object* object = problem ? nullptr : object_of(d.st.st_dev, d.st.st_ino);
  if (!object) {
    refuse_descriptor(why, d, problem ? problem : ", one deleted file too many");
    return true;
  }
  if (object->fd < 0) {
    object->fd = d.fd;
    object->size = d.st.st_size;
    object->mode = d.st.st_mode & 07777;
    set_name(object, d.path, static_cast<uint32_t>(strlen(d.path)));
    if (object->memory) object->seals = raw::fcntl(d.fd, kGetSeals);
    if (object->memory && d.st.st_blksize > 4096) refuse_descriptor(why, d, ", a memfd of huge pages");
  }
  int which = static_cast<int>(object - objects), same = 0;
  while (same < use_count && !(uses[same].object == which && same_description(uses[same].fd, d.fd))) ++same;
  uses[use_count] = {d.fd, which, same < use_count ? same : -1, d.flags, d.close_on_exec, raw::sys(SYS_lseek, d.fd, 0, SEEK_CUR)};
  ++use_count;
  described = object_count;
  return true;
}

bool claim_map(const Map& map, wire::ImageRegion* region, Refusal* why) {
  if (!map.shared || !(path_starts(map, "/memfd:") || path_starts(map, "/dev/zero") || is_deleted(map))) return false;
  if (path_starts(map, "/SYSV") || path_starts(map, "/anon_hugepage") || path_starts(map, "/[aio]")) return false;
  Object* object = object_of(makedev(map.major, map.minor), map.inode);
  if (!object || view_count == kMaxMaps) {
    why->add("it has too many shared mappings");
    why->end();
    return true;
  }
  views[view_count++] = {map.start, map.end, map.offset, map.prot, static_cast<int>(object - objects)};
  if (object->fd < 0) {
    set_name(object, map.path, map.path_length);
    object->memory = true;  // nobody can ask it for a file's properties any more
    int64_t end = static_cast<int64_t>(map.offset + (map.end - map.start));
    if (end > object->size) object->size = end;
    region->all = 1;
  }
  if (!region->all) region->all = wire::kNoPages;
  region->kind = wire::RegionKind::kAnon;  // until restore() puts the object there
  return true;
}

void take(Refusal* why) {
  for (int i = 0; i < object_count; ++i) {
    Object& object = objects[i];
    if (object.fd < 0 || object.size == 0) continue;
    // The program may have opened it for writing only.
    char link[64];
    number_path("/proc/self/fd/", object.fd, link);
    long own = raw::sys(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
    void* at = own < 0 ? nullptr : raw::mmap(nullptr, static_cast<size_t>(object.size), PROT_READ, MAP_PRIVATE, static_cast<int>(own));
    if (own >= 0) raw::close(static_cast<int>(own));
    if (own >= 0 && !raw::failed(at)) {
      object.content = static_cast<char*>(at);
      continue;
    }
    why->add("descriptor ");
    why->add(static_cast<long>(object.fd));
    why->add(" is a deleted file that cannot be read");
    why->end();
  }
}

void give_back() {
  for (int i = 0; i < object_count; ++i) {
    if (objects[i].content) raw::munmap(objects[i].content, static_cast<size_t>(objects[i].size));
    objects[i].content = nullptr;
  }
}

bool put(int fd, const char* from, int64_t length, int64_t offset) {
  while (length > 0) {
    long n = raw::sys(SYS_pwrite64, fd, from, length, offset);
    if (n <= 0) return false;
    from += n;
    offset += n;
    length -= n;
  }
  return true;
}

long make(const Object& object) {
  constexpr int kPrivate = 0600;
  long fd = -ENOENT;
  if (!object.memory) {
    fd = raw::sys(SYS_openat, AT_FDCWD, object.name, O_TMPFILE | O_RDWR | O_CLOEXEC, kPrivate);
    if (fd < 0) fd = raw::sys(SYS_openat, AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, kPrivate);
  }
  unsigned flags = MFD_CLOEXEC | (object.seals == kNoSealing ? 0 : MFD_ALLOW_SEALING);
  return fd >= 0 ? fd : raw::sys(SYS_memfd_create, object.name, flags);
}

bool fill(const Object& object, int which, int fd) {
  if (raw::sys(SYS_ftruncate, fd, object.size) != 0) return false;
  if (object.fd >= 0) return !object.size || put(fd, object.content, object.size, 0);
  bool good = true;
  for (int i = 0; i < view_count; ++i) {
    const View& view = views[i];
    if (view.object != which) continue;
    auto* at = reinterpret_cast<char*>(view.start);
    if (!(view.prot & PROT_READ)) raw::sys(SYS_mprotect, at, view.end - view.start, PROT_READ);
    good &= put(fd, at, static_cast<int64_t>(view.end - view.start), static_cast<int64_t>(view.offset));
  }
  return good;
}

bool map_views(const Object& object, int which, int fd) {
  char link[64];
  number_path("/proc/self/fd/", fd, link);
  // A mapping that could become writable would stand against the seal.
  bool sealed = object.memory && object.seals > 0 && (object.seals & kWriteSeal);
  long from = sealed ? raw::sys(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC) : fd;
  bool good = from >= 0;
  for (int i = 0; i < view_count && good; ++i) {
    const View& view = views[i];
    if (view.object != which) continue;
    void* at = raw::mmap(reinterpret_cast<void*>(view.start), view.end - view.start, static_cast<int>(view.prot),
                         MAP_SHARED | MAP_FIXED, static_cast<int>(from), static_cast<long>(view.offset));
    good = !raw::failed(at);
  }
  if (sealed && from >= 0) raw::close(static_cast<int>(from));
  return good;
}

bool open_uses(int which, int fd) {
  char link[64];
  number_path("/proc/self/fd/", fd, link);
  constexpr int kKept = O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME | O_PATH;
  bool good = true;
  for (int i = 0; i < use_count; ++i) {
    const Use& use = uses[i];
    if (use.object != which) continue;
    if (use.same_as >= 0) {
      good &= raw::dup3(uses[use.same_as].fd, use.fd, use.close_on_exec ? O_CLOEXEC : 0) >= 0;
      continue;
    }
    good &= put_at(raw::sys(SYS_openat, AT_FDCWD, link, (use.flags & kKept) | O_CLOEXEC), use.fd, use.close_on_exec);
    if (use.offset > 0) raw::sys(SYS_lseek, use.fd, use.offset, SEEK_SET);
  }
  return good;
}

bool restore(Refusal* why) {
  for (int i = 0; i < object_count; ++i) {
    const Object& object = objects[i];
    long made = make(object);
    bool good = made >= 0;
    if (good) {
      int fd = transport::move_high(static_cast<int>(made));
      good = fill(object, i, fd) && map_views(object, i, fd) && open_uses(i, fd);
      if (object.fd >= 0) raw::sys(SYS_fchmod, fd, object.mode);
      if (good && object.memory && object.seals > 0 && object.seals != kNoSealing)
        good = raw::fcntl(fd, kAddSeals, object.seals) == 0;
      transport::close_own(fd);
    }
    if (!good) {
      why->add(object.memory ? "no memory for the shared object " : "cannot make a deleted file again that was in ");
      why->add(object.name);
      return false;
    }
  }
  give_back();
  return true;
}

}  // namespace

extern const Resource nameless;
const Resource nameless{.begin = begin, .begin_maps = begin_maps, .claim = claim, .claim_map = claim_map, .take = take,
                        .give_back = give_back, .restore = restore};

}  // namespace msocket::checkpoint
