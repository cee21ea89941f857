// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/in_buffer.h"

#include <string.h>
#include <sys/mman.h>

#include "src/transport/raw.h"

namespace msocket::transport {

char* InBuffer::reserve(size_t n) {
  if (tail_ + n <= capacity_) return base_ + tail_;
  if (head_ > 0 && size() + n <= capacity_) {
    memmove(base_, base_ + head_, size());
    tail_ -= head_;
    head_ = 0;
    return base_ + tail_;
  }
  size_t wanted = capacity_ ? capacity_ : 64 * 1024;
  while (wanted < tail_ + n) wanted *= 2;
  void* at = base_ ? reinterpret_cast<void*>(raw::sys(SYS_mremap, base_, capacity_, wanted, MREMAP_MAYMOVE, 0))
                   : raw::mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (raw::failed(at)) return nullptr;
  base_ = static_cast<char*>(at);
  capacity_ = wanted;
  return base_ + tail_;
}

void InBuffer::drop(size_t n) {
  head_ += n;
  if (head_ == tail_) clear();
}

void InBuffer::clear() {
  if (base_) raw::munmap(base_, capacity_);
  base_ = nullptr;
  capacity_ = head_ = tail_ = 0;
}

}  // namespace msocket::transport
