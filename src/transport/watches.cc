// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/watches.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "src/transport/raw.h"
#include "src/transport/readiness.h"
#include "src/transport/runtime.h"

namespace msocket::transport {

EpollSet epoll_sets[kMaxEpollSets];

namespace {

constexpr uint32_t kNotThere = ~0u;
constexpr uint32_t kReading = EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLPRI | EPOLLRDBAND;
constexpr uint32_t kPrivate = EPOLLONESHOT | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE;
constexpr int kMaxWatches = 2 * kMaxVSockets;

Watch pool[kMaxWatches];  // bss: untouched slots cost nothing
int used_watches;
Watch* free_watches;
int last_id;

Watch* allocate_watch() {
  Watch* watch = free_watches;
  if (watch) free_watches = watch->next;
  else if (used_watches < kMaxWatches) watch = &pool[used_watches++];
  else return nullptr;
  *watch = {};
  watch->in_kernel = kNotThere;
  return watch;
}

void free_watch(Watch* watch) {
  watch->next = free_watches;
  free_watches = watch;
}

int fd_of(int id) {
  for (const EpollSet& set : epoll_sets)
    if (set.id == id) return set.fd;
  return -1;
}

long control(const Watch* watch, int operation, int fd, uint32_t events) {
  epoll_event event{events, {.u64 = watch->data}};
  return raw::sys(SYS_epoll_ctl, fd_of(watch->set), operation, fd, &event);
}

bool drains(const VSocket* vs) { return vs->state == ConnState::kDraining || vs->state == ConnState::kBuffered; }

// What the kernel can tell about the socket in its present state; kNotThere: nothing that is true.
uint32_t wanted_of(const VSocket* vs, const Watch* watch) {
  uint32_t events = watch->disabled ? watch->events & kPrivate : watch->events;
  switch (vs->state) {
    case ConnState::kConnecting:
    case ConnState::kFailed:
    case ConnState::kAwaiting: return kNotThere;
    case ConnState::kDraining:
    case ConnState::kBuffered: return watch->muted ? kNotThere : events & ~kReading;
    default: return events;
  }
}

void sync(VSocket* vs, Watch* watch) {
  watch->muted &= drains(vs);
  uint32_t wanted = wanted_of(vs, watch);
  if (wanted != watch->in_kernel) {
    int operation = wanted == kNotThere ? EPOLL_CTL_DEL : watch->in_kernel == kNotThere ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    control(watch, operation, watch->fd, wanted == kNotThere ? 0 : wanted);
    watch->in_kernel = wanted;
  }
  bool old_wanted = vs->shared && vs->old_fd >= 0 && vs->state == ConnState::kDraining && !watch->disabled;
  if (old_wanted != watch->old_there) {
    control(watch, old_wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, vs->old_fd, (watch->events & kReading) | (watch->events & kPrivate));
    watch->old_there = old_wanted;
  }
}

// Lines of /proc/self/fdinfo/EPOLL: "tfd:        5 events:        1 data:        5 ...". Calls f(fd, events, data) for each.
template <class F>
bool for_each_entry(int epoll, F f) {
  char path[48] = "/proc/self/fdinfo/", digits[16];
  int n = 0;
  if (epoll == 0) digits[n++] = '0';
  for (int rest = epoll; rest; rest /= 10) digits[n++] = static_cast<char>('0' + rest % 10);
  char* p = path + strlen(path);
  while (n) *p++ = digits[--n];
  *p = 0;
  long file = raw::sys(SYS_open, path, O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return false;
  char text[4096];
  size_t have = 0;
  for (;;) {
    long got = raw::read(static_cast<int>(file), text + have, sizeof text - have);
    if (got <= 0) break;
    have += static_cast<size_t>(got);
    size_t start = 0;
    for (size_t i = 0; i < have; ++i) {
      if (text[i] != '\n') continue;
      const char* line = text + start;
      const char* end = text + i;
      start = i + 1;
      if (end - line < 4 || memcmp(line, "tfd:", 4) != 0) continue;
      uint64_t values[3] = {};  // tfd is decimal, the others hexadecimal
      int index = 0;
      for (const char* at = line; at < end && index < 3; ++at) {
        if (*at != ':') continue;
        ++at;
        while (at < end && *at == ' ') ++at;
        unsigned base = index == 0 ? 10 : 16;
        for (; at < end && *at != ' '; ++at) {
          unsigned digit = *at >= 'a' ? static_cast<unsigned>(*at - 'a' + 10) : static_cast<unsigned>(*at - '0');
          values[index] = values[index] * base + digit;
        }
        ++index;
      }
      f(static_cast<int>(values[0]), static_cast<uint32_t>(values[1]), values[2]);
    }
    memmove(text, text + start, have - start);
    have -= start;
  }
  raw::close(static_cast<int>(file));
  return true;
}

// Only the kernel knows whether a one-shot entry has fired.
void learn_disabled(Watch* watch) {
  if (!(watch->events & EPOLLONESHOT) || watch->in_kernel == kNotThere) return;
  for_each_entry(fd_of(watch->set), [&](int fd, uint32_t events, uint64_t) {
    if (fd == watch->fd && (events & ~kPrivate) == 0 && (watch->in_kernel & ~kPrivate) != 0) watch->disabled = true;
  });
}

}  // namespace

bool add_epoll(int fd, int duplicate_of) {
  int id = duplicate_of >= 0 ? epoll_id(duplicate_of) : ++last_id;
  for (EpollSet& set : epoll_sets)
    if (set.id == 0) {
      set = {fd, id};
      ms_kind[fd] = kEpoll;
      return true;
    }
  return false;
}

int epoll_id(int fd) {
  if (!(kind_of(fd) & kEpoll)) return 0;
  for (const EpollSet& set : epoll_sets)
    if (set.id && set.fd == fd) return set.id;
  return 0;
}

void remove_epoll(int fd) {
  int id = epoll_id(fd);
  for (EpollSet& set : epoll_sets)
    if (set.id && set.fd == fd) set = {};
  ms_kind[fd] = 0;
  if (!id || fd_of(id) >= 0) return;
  for_each_vsocket([&](VSocket* vs) {
    for (Watch** at = &vs->watches; *at;) {
      Watch* watch = *at;
      if (watch->set != id) {
        at = &watch->next;
        continue;
      }
      *at = watch->next;
      free_watch(watch);
    }
  });
}

long change_watch(int set, int operation, int fd, VSocket* vs, const epoll_event* event) {
  Watch** at = &vs->watches;
  while (*at && !((*at)->set == set && (*at)->fd == fd)) at = &(*at)->next;
  Watch* watch = *at;
  if (operation == EPOLL_CTL_ADD) {
    if (watch) return -EEXIST;
    watch = allocate_watch();
    if (!watch) return -ENOSPC;
    watch->set = set;
    watch->fd = fd;
    *at = watch;
  } else if (!watch) {
    return -ENOENT;
  } else if (operation == EPOLL_CTL_DEL) {
    if (watch->in_kernel != kNotThere) control(watch, EPOLL_CTL_DEL, fd, 0);
    if (watch->old_there) control(watch, EPOLL_CTL_DEL, vs->old_fd, 0);
    *at = watch->next;
    free_watch(watch);
    return 0;
  }
  watch->events = event->events;
  watch->data = event->data.u64;
  watch->disabled = watch->muted = false;
  watch->seen = vs->arrivals - 1;  // an edge, if it is ready now
  // The kernel must hear of it even if the mask is the same: that is how one-shot entries are armed again.
  if (uint32_t wanted = wanted_of(vs, watch); wanted != kNotThere) {
    long r = control(watch, watch->in_kernel == kNotThere ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, wanted);
    if (r < 0) {
      if (operation == EPOLL_CTL_ADD) {
        *at = watch->next;
        free_watch(watch);
      }
      return r;
    }
    watch->in_kernel = wanted;
  }
  sync(vs, watch);
  return 0;
}

void take_out_watches(VSocket* vs) {
  for (Watch* watch = vs->watches; watch; watch = watch->next) {
    if (watch->in_kernel == kNotThere) continue;
    learn_disabled(watch);
    control(watch, EPOLL_CTL_DEL, watch->fd, 0);
    watch->in_kernel = kNotThere;
  }
}

void take_out_old(VSocket* vs) {
  for (Watch* watch = vs->watches; watch; watch = watch->next) {
    if (watch->old_there) control(watch, EPOLL_CTL_DEL, vs->old_fd, 0);
    watch->old_there = false;
  }
}

void sync_watches(VSocket* vs) {
  for (Watch* watch = vs->watches; watch; watch = watch->next) sync(vs, watch);
}

void drop_watches(VSocket* vs, int fd, bool keep_in_kernel) {
  for (Watch** at = &vs->watches; *at;) {
    Watch* watch = *at;
    if (watch->fd != fd) {
      at = &watch->next;
      continue;
    }
    if (watch->in_kernel != kNotThere && !keep_in_kernel) control(watch, EPOLL_CTL_DEL, fd, 0);
    if (watch->old_there) control(watch, EPOLL_CTL_DEL, vs->old_fd, 0);
    *at = watch->next;
    free_watch(watch);
  }
}

int drop_early_ends(int set, epoll_event* events, int count) {
  constexpr uint32_t kEnds = EPOLLHUP | EPOLLERR;  // of which the kernel tells whoever has asked for anything
  int left = 0;
  for (int i = 0; i < count; ++i) {
    epoll_event& event = events[i];
    uint32_t asked = 0;
    bool news = !(event.events & kEnds);
    auto each_watch = [&](auto f) {
      if (news) return;
      for_each_vsocket([&](VSocket* vs) {
        for (Watch* watch = vs->watches; watch; watch = watch->next)
          if (watch->set == set && watch->data == event.data.u64 && watch->in_kernel != kNotThere) f(vs, watch);
      });
    };
    each_watch([&](VSocket* vs, Watch* watch) {
      if (drains(vs) && !vs->broken && !watch->old_there) asked |= watch->in_kernel & ~(kEnds | kPrivate);
      else news = true;
    });
    bool ours = false;
    each_watch([&](VSocket* vs, Watch* watch) {
      ours = true;
      watch->muted = !asked;
      sync(vs, watch);
    });
    if (ours) event.events &= asked;
    if (event.events) events[left++] = event;
  }
  return left;
}

void learn_fired(int set) {
  for_each_vsocket([&](VSocket* vs) {
    for (Watch* watch = vs->watches; watch; watch = watch->next)
      if (watch->set == set && !watch->disabled && (kind_of(watch->fd) & kSlow)) learn_disabled(watch);
  });
}

int own_epoll_events(int set, epoll_event* events, int most) {
  int count = 0;
  for_each_vsocket([&](VSocket* vs) {
    for (Watch* watch = vs->watches; watch; watch = watch->next) {
      if (watch->set != set || watch->disabled || vs->datagram != Datagram::kNo || !(kind_of(watch->fd) & kSlow)) continue;
      if (most && count == most) return;
      short ask;
      auto ready = static_cast<uint16_t>(own_events(vs, static_cast<short>(watch->events), &ask));
      if (!ready || ((watch->events & EPOLLET) && watch->seen == vs->arrivals)) continue;
      if (most) {
        watch->seen = vs->arrivals;
        events[count] = {ready, {.u64 = watch->data}};
        if (watch->events & EPOLLONESHOT) {
          watch->disabled = true;
          sync(vs, watch);
        }
      }
      ++count;
    }
  });
  return count;
}

// ---- moves of this process ----

namespace {
struct PlainEntry {
  int set, fd;
  uint32_t events;
  uint64_t data;
};
constexpr int kMaxPlain = 4096;
PlainEntry plain_entries[kMaxPlain];
int plain_count;
uint8_t set_flags[kMaxEpollSets];  // 1: close-on-exec
}  // namespace

bool save_epolls() {
  plain_count = 0;
  bool good = true;
  for (int i = 0; i < kMaxEpollSets; ++i) {
    const EpollSet& set = epoll_sets[i];
    if (!set.id) continue;
    set_flags[i] = raw::fcntl(set.fd, F_GETFD) & FD_CLOEXEC;
    if (fd_of(set.id) != set.fd) continue;
    good &= for_each_entry(set.fd, [&](int fd, uint32_t events, uint64_t data) {
      if (kind_of(fd) & kVirtual) return;
      if (plain_count == kMaxPlain) good = false;
      else plain_entries[plain_count++] = {set.id, fd, events, data};
    });
  }
  for_each_vsocket([](VSocket* vs) {
    for (Watch* watch = vs->watches; watch; watch = watch->next) learn_disabled(watch);
  });
  return good;
}

bool restore_epolls() {
  bool good = true;
  for (int i = 0; i < kMaxEpollSets; ++i) {
    const EpollSet& set = epoll_sets[i];
    if (!set.id) continue;
    int first = fd_of(set.id);
    int flags = set_flags[i] ? O_CLOEXEC : 0;
    long made = first == set.fd ? raw::sys(SYS_epoll_create1, flags) : first;
    if (made < 0) return false;
    if (made != set.fd) good &= raw::dup3(static_cast<int>(made), set.fd, flags) >= 0;
    if (first == set.fd && made != set.fd) raw::close(static_cast<int>(made));
  }
  for (int i = 0; i < plain_count; ++i) {
    const PlainEntry& entry = plain_entries[i];
    epoll_event event{entry.events, {.u64 = entry.data}};
    good &= raw::sys(SYS_epoll_ctl, fd_of(entry.set), EPOLL_CTL_ADD, entry.fd, &event) == 0;
  }
  for_each_vsocket([](VSocket* vs) {
    for (Watch* watch = vs->watches; watch; watch = watch->next) {
      watch->in_kernel = kNotThere;
      watch->old_there = false;
    }
    sync_watches(vs);
  });
  return good;
}

}  // namespace msocket::transport
