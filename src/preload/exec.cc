// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The exec functions of libc, over ms_execve: libc's own end in a call inside it, which nobody can put himself in front of.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/msocket/msocket.h"

extern char** environ;

namespace {

// A file that is no program is a script for the shell.
int try_one(const char* path, char* const* arguments, char* const* environment) {
  ms_execve(path, arguments, environment);
  if (errno != ENOEXEC) return -1;
  size_t count = 0;
  while (arguments[count]) ++count;
  char* words[count + 2];
  words[0] = const_cast<char*>("/bin/sh");
  words[1] = const_cast<char*>(path);
  for (size_t i = 1; i <= count; ++i) words[i + 1] = arguments[i];
  if (count == 0) words[2] = nullptr;
  ms_execve(words[0], words, environment);
  return -1;
}

int search(const char* name, char* const* arguments, char* const* environment) {
  if (!*name) {
    errno = ENOENT;
    return -1;
  }
  if (strchr(name, '/')) return try_one(name, arguments, environment);
  const char* folders = getenv("PATH");
  if (!folders) folders = "/bin:/usr/bin";
  bool forbidden = false;
  for (const char* at = folders;; ++at) {
    size_t length = strcspn(at, ":");
    char path[PATH_MAX];
    int written = snprintf(path, sizeof path, "%.*s%s%s", static_cast<int>(length), at, length ? "/" : "", name);
    if (length < sizeof path && written > 0 && written < static_cast<int>(sizeof path)) {
      try_one(path, arguments, environment);
      if (errno == EACCES) forbidden = true;
      else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV && errno != ETIMEDOUT) return -1;
    }
    at += length;
    if (!*at) break;
  }
  errno = forbidden ? EACCES : ENOENT;
  return -1;
}

size_t count_words(va_list words) {
  size_t count = 1;  // the first is no part of the list
  while (va_arg(words, char*)) ++count;
  return count;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int execv(const char* path, char* const arguments[]) noexcept { return ms_execve(path, arguments, environ); }
EXPORT int execvp(const char* name, char* const arguments[]) noexcept { return search(name, arguments, environ); }
EXPORT int execvpe(const char* name, char* const arguments[], char* const environment[]) noexcept {
  return search(name, arguments, environment);
}

EXPORT int fexecve(int fd, char* const arguments[], char* const environment[]) noexcept {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  ms_execve(path, arguments, environment);
  if (errno == ENOENT && fcntl(fd, F_GETFD) < 0) errno = EBADF;
  return -1;
}

// The list of a variadic one as an array of its own.
#define MS_COLLECT(first)                                     \
  va_list words;                                              \
  va_start(words, first);                                     \
  va_list counted;                                            \
  va_copy(counted, words);                                    \
  size_t count = count_words(counted);                        \
  va_end(counted);                                            \
  char* arguments[count + 1];                                 \
  arguments[0] = const_cast<char*>(first);                    \
  for (size_t i = 1; i <= count; ++i) arguments[i] = va_arg(words, char*);

EXPORT int execl(const char* path, const char* first, ...) noexcept {
  MS_COLLECT(first)
  va_end(words);
  return ms_execve(path, arguments, environ);
}
EXPORT int execlp(const char* name, const char* first, ...) noexcept {
  MS_COLLECT(first)
  va_end(words);
  return search(name, arguments, environ);
}
EXPORT int execle(const char* path, const char* first, ...) noexcept {
  MS_COLLECT(first)
  char* const* environment = va_arg(words, char* const*);
  va_end(words);
  return ms_execve(path, arguments, environment);
}
