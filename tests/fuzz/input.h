// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// How a fuzz target takes an input apart. Where it ends, zeros follow. seeds.cc writes what this reads.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace msocket::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  size_t left() const { return left_; }
  template <class T>
  T number() {
    T value{};
    take(&value, sizeof value);
    return value;
  }
  /// At most `most` bytes, in memory of exactly that size: what is read behind them is found.
  std::string bytes(size_t most) {
    std::string text(most < left_ ? most : left_, '\0');
    take(text.data(), text.size());
    text.shrink_to_fit();
    return text;
  }
  std::string rest() { return bytes(left_); }
  void take(void* to, size_t size) {
    size_t n = size < left_ ? size : left_;
    if (n) std::memcpy(to, data_, n);
    data_ += n;
    left_ -= n;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

/// What must hold whatever comes in.
inline void must(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace msocket::fuzz
