// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/resources.h"

#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "src/checkpoint/proc_text.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"
#include "src/transport/vsocket.h"
#include "src/wire/control.h"

namespace msocket::checkpoint {

// One line for each kind; the files have their names.
extern const Resource alone, place, streams, nameless, pipes, eventfds, timerfds, signalfds, files, strangers, locks, signals, timers,
    limits, marks, identity, pending;

namespace {

// In the order in which they are put back. A descriptor is the first one's that claims it; `files` takes what can be opened by
// its path, `strangers` all the rest.
const Resource* const table[] = {
    &alone,     &place, &streams, &nameless, &pipes,  &eventfds, &timerfds, &signalfds, &files,
    &strangers, &locks, &signals, &timers,   &limits, &marks,   &identity, &pending,
};

bool library_owned(int fd, const int* own, int count) {
  for (int i = 0; i < count; ++i)
    if (own[i] == fd) return true;
  if (transport::kind_of(fd) != 0) return true;  // before the look at every socket, for every descriptor
  bool found = false;
  transport::for_each_vsocket([&](transport::VSocket* vs) { found |= vs->option_fd == fd || vs->old_fd == fd; });
  return found;
}

void claim(int fd, Refusal* why) {
  Descriptor descriptor;
  descriptor.fd = fd;
  if (raw::sys(SYS_fstat, fd, &descriptor.st) != 0) return;
  descriptor.flags = static_cast<int>(raw::fcntl(fd, F_GETFL));
  descriptor.close_on_exec = raw::fcntl(fd, F_GETFD) & FD_CLOEXEC;
  char link[64];
  number_path("/proc/self/fd/", fd, link);
  long n = raw::sys(SYS_readlink, link, descriptor.path, sizeof descriptor.path - 1);
  descriptor.path[n < 0 ? 0 : n] = 0;
  descriptor.path_whole = n < static_cast<long>(sizeof descriptor.path) - 1;
  for (const Resource* resource : table)
    if (resource->claim && resource->claim(descriptor, why)) break;
  why->end();
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

void Refusal::end() {
  size_t n = strlen(text);
  if (n && text[n - 1] != '\n') add("\n");
}

void Refusal::first(char* to, unsigned long size) const {
  unsigned long n = 0;
  for (; n + 1 < size && text[n] && text[n] != '\n'; ++n) to[n] = text[n];
  to[n] = 0;
}

void refuse_descriptor(Refusal* why, const Descriptor& descriptor, const char* reason) {
  why->add("descriptor ");
  why->add(static_cast<long>(descriptor.fd));
  why->add(" is ");
  why->add(descriptor.path);
  why->add(reason);
  why->end();
}

bool put_at(long made, int number, bool close_on_exec) {
  if (made < 0) return false;
  if (made == number) return raw::fcntl(number, F_SETFD, close_on_exec ? FD_CLOEXEC : 0) == 0;
  bool good = raw::dup3(static_cast<int>(made), number, close_on_exec ? O_CLOEXEC : 0) >= 0;
  raw::close(static_cast<int>(made));
  return good;
}

Dumpable::Dumpable() : hidden_(raw::sys(SYS_prctl, PR_GET_DUMPABLE) == 0) {
  if (hidden_) raw::sys(SYS_prctl, PR_SET_DUMPABLE, 1);
}

Dumpable::~Dumpable() {
  if (hidden_) raw::sys(SYS_prctl, PR_SET_DUMPABLE, 0);
}

void note_start() {
  for (const Resource* resource : table)
    if (resource->start) resource->start();
}

void resources_go_over_exec() {
  for (const Resource* resource : table)
    if (resource->over_exec) resource->over_exec();
}

void look_at_resources(const int* own_fds, int own_count, Refusal* why) {
  for (const Resource* resource : table)
    if (resource->begin) resource->begin();
  Dumpable dumpable;
  each_number("/proc/self/fd", [&](int number) {
    if (!library_owned(number, own_fds, own_count)) claim(number, why);
    // In the new process the library's descriptors must not lie where the program's are.
    if (number >= transport::rt.high_from && !(transport::kind_of(number) & transport::kOwn) && number < wire::kControlFd)
      transport::rt.high_from = number + 1;
  });
  for (const Resource* resource : table) {
    if (resource->look) resource->look(why);
    why->end();
  }
}

void begin_mappings() {
  for (const Resource* resource : table)
    if (resource->begin_maps) resource->begin_maps();
}

bool claim_mapping(const Map& map, wire::ImageRegion* region, Refusal* why) {
  for (const Resource* resource : table)
    if (resource->claim_map && resource->claim_map(map, region, why)) return true;
  return false;
}

bool take_resources(Refusal* why) {
  for (const Resource* resource : table) {
    if (resource->take) resource->take(why);
    if (!why->empty()) return false;
  }
  return true;
}

void let_go_of_resources() {
  for (const Resource* resource : table)
    if (resource->let_go) resource->let_go();
}

void give_back_resources() {
  for (const Resource* resource : table)
    if (resource->give_back) resource->give_back();
}

bool restore_resources(Refusal* why) {
  for (const Resource* resource : table)
    if (resource->restore && !resource->restore(why)) return false;
  return true;
}

bool finish_resources(Refusal* why) {
  for (const Resource* resource : table)
    if (resource->finish && !resource->finish(why)) return false;
  return true;
}

void list_needs(const Needs& to) {
  for (const Resource* resource : table)
    if (resource->needs) resource->needs(to);
}

}  // namespace msocket::checkpoint
