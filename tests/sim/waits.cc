// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The simulated kernel's poll, select and epoll.
#include <errno.h>
#include <sys/syscall.h>

#include <cstdio>
#include <cstring>

#include "tests/sim/calls.h"

namespace msocket::sim {

namespace {

template <class T>
T* at(long address) {
  return reinterpret_cast<T*>(address);
}

struct Asked {
  FilePtr file;
  short events;
};

std::function<bool()> any_of(std::vector<Asked> asked) {
  return [asked = std::move(asked)] {
    for (auto& one : asked)
      if (one.file->events() & one.events) return true;
    return false;
  };
}

long poll_call(long nr, const long* a, Waits* waits) {
  Proc* proc = sim.current->proc;
  auto* fds = at<pollfd>(a[0]);
  auto count = static_cast<size_t>(a[1]);
  std::vector<Asked> asked;
  int ready = 0;
  for (size_t i = 0; i < count; ++i) {
    fds[i].revents = 0;
    if (fds[i].fd < 0) continue;
    FilePtr file = proc->find(fds[i].fd);
    short events = fds[i].events | POLLERR | POLLHUP;
    fds[i].revents = file ? static_cast<short>(file->events() & events) : POLLNVAL;
    ready += fds[i].revents != 0;
    if (file) asked.push_back({file, events});
  }
  if (ready || (nr == SYS_poll && a[2] == 0)) return ready;
  waits->until = any_of(std::move(asked));
  return 0;
}

long select_call(const long* a, Waits* waits) {
  constexpr short kBits[] = {POLLIN | POLLHUP | POLLERR, POLLOUT | POLLERR, POLLPRI};
  auto words = static_cast<size_t>(a[0] + 63) / 64;
  std::vector<unsigned long> found[3];
  std::vector<Asked> asked;
  long ready = 0;
  for (int set = 0; set < 3; ++set) {
    found[set].resize(words);
    auto* bits = at<unsigned long>(a[1 + set]);
    for (int fd = 0; bits && fd < a[0]; ++fd) {
      if (!(bits[fd / 64] >> (fd % 64) & 1)) continue;
      FilePtr file = sim.current->proc->find(fd);
      if (!file) return -EBADF;
      if (file->events() & kBits[set]) {
        found[set][static_cast<size_t>(fd / 64)] |= 1ul << (fd % 64);
        ++ready;
      }
      asked.push_back({file, kBits[set]});
    }
  }
  if (!ready) {
    waits->until = any_of(std::move(asked));
    return 0;
  }
  for (int set = 0; set < 3; ++set)
    if (a[1 + set]) memcpy(at<void>(a[1 + set]), found[set].data(), words * 8);
  return ready;
}

long epoll_call(const long* a, Waits* waits) {
  auto set = std::dynamic_pointer_cast<Epoll>(sim.current->proc->find(static_cast<int>(a[0])));
  if (!set) return -EINVAL;
  long n = set->ready(at<epoll_event>(a[1]), static_cast<int>(a[2]));
  if (n == 0) waits->until = [set] { return set->ready(nullptr, 1) > 0; };
  return n;
}

}  // namespace

int Epoll::ready(epoll_event* events, int most) const {
  std::erase_if(entries, [](const Entry& entry) { return entry.file.expired(); });
  int count = 0;
  for (Entry& entry : entries) {
    if (count == most) break;
    uint32_t wanted = entry.asked.events;
    if (!(wanted & ~(EPOLLET | EPOLLONESHOT))) continue;
    FilePtr file = entry.file.lock();
    if ((wanted & EPOLLET) && !entry.fresh && entry.seen == file->news) continue;
    uint32_t now = static_cast<uint16_t>(file->events()) & (wanted | EPOLLERR | EPOLLHUP);
    if (!now) continue;
    if (events) {
      events[count] = entry.asked;
      events[count].events = now;
      entry.seen = file->news;
      entry.fresh = false;
      if (wanted & EPOLLONESHOT) entry.asked.events &= EPOLLET | EPOLLONESHOT;
    }
    ++count;
  }
  return count;
}

long epoll_control(const FilePtr& file, const long* a) {
  auto set = std::dynamic_pointer_cast<Epoll>(file);
  int fd = static_cast<int>(a[2]);
  FilePtr target = sim.current->proc->find(fd);
  if (!set || !target || target == file) return target ? -EINVAL : -EBADF;
  auto it = std::find_if(set->entries.begin(), set->entries.end(),
                         [&](const Epoll::Entry& entry) { return entry.fd == fd && entry.file.lock() == target; });
  bool there = it != set->entries.end();
  if (a[1] == EPOLL_CTL_ADD ? there : !there) return there ? -EEXIST : -ENOENT;
  if (a[1] == EPOLL_CTL_DEL) {
    set->entries.erase(it);
    return 0;
  }
  Epoll::Entry entry{fd, target, *at<epoll_event>(a[3]), target->news, true};
  if (there) *it = entry;
  else set->entries.push_back(entry);
  return 0;
}

long Text::read(char* data, size_t length) {
  size_t n = std::min(length, text.size());
  memcpy(data, text.data(), n);
  text.erase(0, n);
  return static_cast<long>(n);
}

long open_fdinfo(Proc* proc, const std::string& path) {
  int fd = -1;
  if (sscanf(path.c_str(), "/proc/self/fdinfo/%d", &fd) != 1) sim.fail("opens %s", path.c_str());
  FilePtr file = proc->find(fd);
  if (!file) return -ENOENT;
  std::string text = "pos:\t0\nflags:\t02\n";
  if (auto set = std::dynamic_pointer_cast<Epoll>(file))
    for (auto& entry : set->entries) {
      if (entry.file.expired()) continue;
      char line[100];
      snprintf(line, sizeof line, "tfd: %8d events: %8x data: %16llx  pos:0 ino:1 sdev:8\n", entry.fd, entry.asked.events,
               static_cast<unsigned long long>(entry.asked.data.u64));
      text += line;
    }
  return proc->put(std::make_shared<Text>(text), 0, true);
}

long wait_call(long nr, const long* a, Waits* waits) {
  switch (nr) {
    case SYS_poll:
    case SYS_ppoll: return poll_call(nr, a, waits);
    case SYS_pselect6: return select_call(a, waits);
    case SYS_epoll_pwait: return epoll_call(a, waits);
    default: return -ENOSYS;
  }
}

}  // namespace msocket::sim
