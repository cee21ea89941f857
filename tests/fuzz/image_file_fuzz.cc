// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The file of a suspended process: as it comes, or blocks put together here with checksums that are right. What is read is no
// longer than the format says, and what cannot be read is said in one line.
#include <sodium.h>
#include <sys/mman.h>
#include <unistd.h>

#include <stdexcept>

#include "src/util/scoped_fd.h"
#include "src/wire/image_file.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using namespace msocket::wire;
using fuzz::must;

namespace {
template <class T>
void append(std::string* file, const T& object) {
  file->append(reinterpret_cast<const char*>(&object), sizeof object);
}

std::string put_together(fuzz::Input& input) {
  std::string file;
  append(&file, ImageFileStart());
  uint64_t bytes = 0;
  for (uint64_t number = 0; input.left(); ++number) {
    auto type = static_cast<ImageBlock>(input.number<uint8_t>());
    std::string payload = input.bytes(input.number<uint16_t>());
    if (type == ImageBlock::kEnd && payload.empty()) {
      ImageFileEnd end{number, bytes};
      append(&payload, end);
    }
    if (type == ImageBlock::kData) bytes += payload.size();
    ImageBlockHeader header{type, static_cast<uint32_t>(payload.size()), number};
    std::string block;
    append(&block, header);
    block += payload;
    unsigned char sum[crypto_generichash_BYTES];
    crypto_generichash(sum, sizeof sum, reinterpret_cast<const unsigned char*>(block.data()), block.size(), nullptr, 0);
    file += block + std::string(reinterpret_cast<const char*>(sum), sizeof sum);
  }
  return file;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  std::string file = input.number<uint8_t>() % 4 ? put_together(input) : input.rest();
  ScopedFd fd(memfd_create("image", MFD_CLOEXEC));
  must(write(fd.get(), file.data(), file.size()) == static_cast<ssize_t>(file.size()), "there is memory");
  try {
    ImageFileReader reader("/proc/self/fd/" + std::to_string(fd.get()));
    uint64_t bytes = 0;
    for (std::string part; reader.next(&part); bytes += part.size())
      must(part.size() <= kImageBlockMost, "a part is as long as a block at most");
    must(bytes == reader.bytes() && reader.size() == file.size(), "the totals are right");
  } catch (const std::runtime_error& error) {
    must(!strchr(error.what(), '\n'), "one line");
  }
  return 0;
}
