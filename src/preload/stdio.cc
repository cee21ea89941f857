// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// stdio reads and writes a descriptor by calls inside libc, which nobody can put himself in front of. So a stream that is
// opened on a virtual socket is one of the library's own, over ms_read and ms_write.
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/msocket/msocket.h"

namespace {

struct Stream {
  FILE* file;
  int fd;
  Stream* next;
};
Stream* streams;
pthread_mutex_t streams_lock = PTHREAD_MUTEX_INITIALIZER;

ssize_t read_stream(void* cookie, char* buffer, size_t size) { return ms_read(static_cast<Stream*>(cookie)->fd, buffer, size); }
ssize_t write_stream(void* cookie, const char* buffer, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t n = ms_write(static_cast<Stream*>(cookie)->fd, buffer + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return done ? static_cast<ssize_t>(done) : 0;  // fopencookie: 0 is an error
    done += static_cast<size_t>(n);
  }
  return static_cast<ssize_t>(done);
}
int close_stream(void* cookie) {
  auto* stream = static_cast<Stream*>(cookie);
  pthread_mutex_lock(&streams_lock);
  for (Stream** at = &streams; *at; at = &(*at)->next)
    if (*at == stream) {
      *at = stream->next;
      break;
    }
  pthread_mutex_unlock(&streams_lock);
  int r = ms_close(stream->fd);
  free(stream);
  return r;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT FILE* fdopen(int fd, const char* mode) noexcept {
  if (!ms_is_virtual(fd)) return reinterpret_cast<FILE* (*)(int, const char*)>(dlsym(RTLD_NEXT, "fdopen"))(fd, mode);
  auto* stream = static_cast<Stream*>(calloc(1, sizeof(Stream)));
  if (!stream) return nullptr;
  stream->fd = fd;
  stream->file = fopencookie(stream, mode, {read_stream, write_stream, nullptr, close_stream});
  if (!stream->file) {
    free(stream);
    return nullptr;
  }
  pthread_mutex_lock(&streams_lock);
  stream->next = streams;
  streams = stream;
  pthread_mutex_unlock(&streams_lock);
  return stream->file;
}

EXPORT int fileno(FILE* file) noexcept {
  int fd = -1;
  pthread_mutex_lock(&streams_lock);
  for (Stream* stream = streams; stream; stream = stream->next)
    if (stream->file == file) fd = stream->fd;
  pthread_mutex_unlock(&streams_lock);
  return fd >= 0 ? fd : reinterpret_cast<int (*)(FILE*)>(dlsym(RTLD_NEXT, "fileno"))(file);
}

EXPORT int vdprintf(int fd, const char* format, va_list arguments) {
  char* text = nullptr;
  int length = vasprintf(&text, format, arguments);
  if (length < 0) return length;
  int done = 0;
  while (done < length) {
    ssize_t n = ms_write(fd, text + done, static_cast<size_t>(length - done));
    if (n < 0) break;
    done += static_cast<int>(n);
  }
  free(text);
  return done == length ? length : -1;
}

EXPORT int dprintf(int fd, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int r = vdprintf(fd, format, arguments);
  va_end(arguments);
  return r;
}
EXPORT int __dprintf_chk(int fd, int, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int r = vdprintf(fd, format, arguments);
  va_end(arguments);
  return r;
}
EXPORT int __vdprintf_chk(int fd, int, const char* format, va_list arguments) { return vdprintf(fd, format, arguments); }
