// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/proc_text.h"

#include <errno.h>
#include <string.h>

namespace msocket::checkpoint {

namespace {
constexpr int kKcmpFile = 0;  // <linux/kcmp.h>
}

void number_path(const char* prefix, long number, char* out) {
  size_t n = strlen(prefix);
  memcpy(out, prefix, n);
  if (number < 0) {
    out[n++] = '-';
    number = -number;
  }
  char digits[24];
  int d = 0;
  do digits[d++] = static_cast<char>('0' + number % 10);
  while (number /= 10);
  while (d) out[n++] = digits[--d];
  out[n] = 0;
}

long read_text(const char* path, char* text, unsigned long size) {
  text[0] = 0;
  long fd = raw::sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fd;
  unsigned long have = 0;
  long n = 0;
  while (have + 1 < size && (n = raw::read(static_cast<int>(fd), text + have, size - 1 - have)) > 0) have += n;
  raw::close(static_cast<int>(fd));
  text[have] = 0;
  return n < 0 ? n : static_cast<long>(have);
}

bool read_fdinfo(int fd, char* text, unsigned long size) {
  char path[64];
  number_path("/proc/self/fdinfo/", fd, path);
  return read_text(path, text, size) > 0;
}

void skip_blanks(const char** at) {
  while (**at == ' ' || **at == '\t') ++*at;
}

int64_t take_number(const char** at, unsigned base) {
  bool minus = **at == '-';
  if (minus) ++*at;
  int64_t value = 0;
  for (;; ++*at) {
    unsigned digit;
    if (**at >= '0' && **at <= '9') digit = static_cast<unsigned>(**at - '0');
    else if (base == 16 && **at >= 'a' && **at <= 'f') digit = static_cast<unsigned>(**at - 'a' + 10);
    else break;
    value = value * base + digit;
  }
  return minus ? -value : value;
}

bool number_after(const char* text, const char* name, unsigned base, uint64_t* value) {
  const char* at = strstr(text, name);
  if (!at) return false;
  at += strlen(name);
  skip_blanks(&at);
  *value = static_cast<uint64_t>(take_number(&at, base));
  return true;
}

bool take_word(const char** at, const char* word) {
  size_t n = strlen(word);
  if (strncmp(*at, word, n) != 0) return false;
  *at += n;
  skip_blanks(at);
  return true;
}

const char* next_line(const char* at) {
  while (*at && *at != '\n') ++at;
  return *at ? at + 1 : at;
}

bool begins_with(const char* text, const char* begin) { return strncmp(text, begin, strlen(begin)) == 0; }

bool ends_with(const char* text, const char* end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && memcmp(text + n - m, end, m) == 0;
}

bool same_description(int one, int other) {
  long self = raw::getpid();
  return raw::sys(SYS_kcmp, self, self, kKcmpFile, one, other) == 0;
}

}  // namespace msocket::checkpoint
