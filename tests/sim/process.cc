// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "tests/sim/process.h"

#include <dlfcn.h>
#include <poll.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace msocket::sim {

namespace {

constexpr int kHighFd = 600;

// What src/checkpoint/save.cc does, but for the memory, which stays where it is.
void freeze(int image_fd, int mailbox_fd) {
  Fiber* self = sim.current;
  Process* p = self->proc->process;
  ++self->masked;
  ++p->freezes;
  int still = std::exchange(self->still, 0);
  bool good = !sim.random.one_in(25);
  sim.trace("%s stands still%s", p->name.c_str(), good ? "" : ", and cannot be saved");
  for (auto& [fd, entry] : p->proc->table)
    if (fd < kHighFd && !p->lib->knows(fd)) sim.fail("%s is frozen with a socket in no table: number %d", p->name.c_str(), fd);
  wire::ControlRecord record;
  record.type = wire::Control::kFrozen;
  record.error = good ? 0 : ECANCELED;
  record.arg0 = static_cast<uint64_t>(p->lib->hand_over(mailbox_fd, good));
  p->lib->say(record);
  p->lib->close_own(image_fd);
  while (good) {
    FilePtr control = p->proc->find(wire::kControlFd);
    sim.wait([&] { return p->arrival || (control->events() & POLLIN); });
    if (p->arrival) break;
    if (p->lib->hear(&record, true) == 0 && record.type == wire::Control::kRollback) {
      p->lib->undo();
      break;
    }
  }
  if (p->arrival) {
    p->proc = p->arrival->proc;
    self->proc = p->proc.get();
    wire::ControlRecord restored;
    restored.type = wire::Control::kRestored;
    wire::ControlRecord start = p->arrival->start;
    int mirror_fd = p->arrival->mirror_fd;
    p->arrival.reset();
    restored.arg0 = static_cast<uint64_t>(p->lib->restore(start, wire::kControlFd, mirror_fd));
    p->lib->say(restored);
    do {
      if (p->lib->hear(&record, false) != 0) sim.fail("the new process is left alone");
    } while (record.type != wire::Control::kResume);
  }
  sim.trace("%s goes on%s", p->name.c_str(), record.type == wire::Control::kResume ? " in its new place" : " where it was");
  self->still = still;
  --self->masked;
}

}  // namespace

const Library* load_library(const std::string& module, int number) {
  namespace fs = std::filesystem;
  // The loader knows files by their inode: a copy has data of its own.
  std::string name = (fs::temp_directory_path() / ("msocket-sim-XXXXXX")).string();
  int fd = mkstemp(name.data());
  if (fd < 0) sim.fail("no temporary file");
  fs::copy_file(module, name, fs::copy_options::overwrite_existing);
  void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  fs::remove(name);
  if (!handle) sim.fail("copy %d of the library: %s", number, dlerror());
  auto open = reinterpret_cast<Open>(dlsym(handle, "msocket_sim_open"));
  if (!open) sim.fail("%s is not the test's module", module.c_str());
  return open(system_call, kLookAgain, freeze);
}

}  // namespace msocket::sim
