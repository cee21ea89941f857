// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Where the process stands: working directory and umask.
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "src/checkpoint/resources.h"
#include "src/transport/raw.h"

namespace msocket::checkpoint {

namespace {

unsigned mask;
char directory[4096];

void look(Refusal* why) {
  mask = static_cast<unsigned>(raw::sys(SYS_umask, 0));
  raw::sys(SYS_umask, mask);
  char root[256];
  long n = raw::sys(SYS_readlink, "/proc/self/root", root, sizeof root - 1);
  root[n < 0 ? 0 : n] = 0;
  if (n > 0 && strcmp(root, "/") != 0) {
    why->add("its root directory is ");
    why->add(root);
    why->end();
  }
  if (raw::sys(SYS_getcwd, directory, sizeof directory) <= 0 || directory[0] != '/') {
    directory[0] = 0;
    why->add("its working directory has been removed");
  }
}

bool restore(Refusal* why) {
  raw::sys(SYS_umask, mask);
  long r = raw::sys(SYS_chdir, directory);
  if (r == 0) return true;
  why->add(r == -ENOENT ? "no directory " : "cannot enter the directory ");
  why->add(directory);
  return false;
}

void needs(const Needs& to) {
  if (directory[0]) to.file(directory, O_DIRECTORY, 0);
}

}  // namespace

extern const Resource place;
const Resource place{.look = look, .restore = restore, .needs = needs};

}  // namespace msocket::checkpoint
