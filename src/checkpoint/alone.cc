// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What a process must not have around it: children, a tracer, a filter on its system calls.
#include <fcntl.h>
#include <string.h>

#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"

namespace msocket::checkpoint {

namespace {

char text[4096];  // here, for a signal's stack may be small

void look(Refusal* why) {
  bool children = false;
  each_number("/proc/self/task", [&](int thread) {
    char path[96];
    number_path("/proc/self/task/", thread, path);
    memcpy(path + strlen(path), "/children", 10);
    children |= read_text(path, text, 2) == 1;
  });
  if (children) {
    why->add("it has child processes");
    why->end();
  }
  uint64_t number;
  if (read_text("/proc/self/status", text, sizeof text) <= 0) return;
  if (number_after(text, "\nTracerPid:", 10, &number) && number) {
    why->add("it is being traced by process ");
    why->add(static_cast<long>(number));
    why->end();
  }
  // The kernel does not tell an ordinary user what is in a filter; without it the process would have rights that it gave up.
  if (number_after(text, "\nSeccomp:", 10, &number) && number) {
    why->add("it has a seccomp filter, which cannot be read");
    why->end();
  }
}

}  // namespace

extern const Resource alone;
const Resource alone{.look = look};

}  // namespace msocket::checkpoint
