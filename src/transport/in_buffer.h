// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>

namespace msocket::transport {

/// Bytes of a stream that were taken off an old connection before the program asked for them, or that the program wrote before
/// there was a new one. Memory comes straight from
/// the kernel and moves with the process. Async-signal-safe; not thread-safe. Zero-initialised = empty.
class InBuffer {
 public:
  size_t size() const { return tail_ - head_; }
  const char* data() const { return base_ + head_; }
  /// Room for at least `n` more bytes, or nullptr when there is no memory; write there, then added(k).
  char* reserve(size_t n);
  void added(size_t n) { tail_ += n; }
  void drop(size_t n);
  /// Gives the memory back.
  void clear();

 private:
  char* base_ = nullptr;
  size_t capacity_ = 0, head_ = 0, tail_ = 0;
};

}  // namespace msocket::transport
