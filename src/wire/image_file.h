// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The file that a suspended process is kept in: blocks with a checksum each. See doc/image-format.md. Blocking calls: a
// daemon uses them in a thread of their own (src/daemons/image_pump.h).
#pragma once
#include <sodium.h>

#include <cstdint>
#include <string>

#include "src/util/scoped_fd.h"
#include "src/wire/image.h"
#include "src/wire/msocket.pb.h"

namespace msocket::wire {

inline constexpr uint64_t kImageFileMagic = 0x317375736b73;  // "sksus1"
inline constexpr uint32_t kImageFileVersion = 1;
inline constexpr uint32_t kImageBlockMost = 1024 * 1024;

enum class ImageBlock : uint32_t {
  kHead = 1,  ///< an ImageHead (msocket.proto); the first
  kData = 2,  ///< the next bytes of the image stream
  kEnd = 3,   ///< ImageFileEnd; the last
};

struct ImageFileStart {
  uint64_t magic = kImageFileMagic;
  uint32_t version = kImageFileVersion;
  uint32_t pad = 0;
};
/// Before each block; after it the BLAKE2b-256 of both.
struct ImageBlockHeader {
  ImageBlock type{};
  uint32_t len = 0;
  uint64_t number = 0;  ///< 0, 1, 2 ...
};
struct ImageFileEnd {
  uint64_t blocks = 0;  ///< before this one
  uint64_t bytes = 0;   ///< of the image stream
};
static_assert(sizeof(ImageFileStart) == 16 && sizeof(ImageBlockHeader) == 16 && sizeof(ImageFileEnd) == 16);

/// Throws std::runtime_error with the system's reason.
class ImageFileWriter {
 public:
  /// A new file beside `path`; nothing is at `path` itself before finish().
  explicit ImageFileWriter(std::string path);
  ~ImageFileWriter();
  void head(const proto::ImageHead& head);
  void data(const char* bytes, size_t length) { block(ImageBlock::kData, bytes, length); }
  /// The end mark; all of it is on the disk and has its name when this returns.
  void finish();
  uint64_t bytes() const { return end_.bytes; }

 private:
  void block(ImageBlock type, const void* payload, size_t length);
  void write(const void* data, size_t length);
  [[noreturn]] void fail();
  std::string path_, partial_;
  ScopedFd fd_;
  ImageFileEnd end_;
};

/// Throws std::runtime_error: "PATH: why", with the offset of a damage.
class ImageFileReader {
 public:
  explicit ImageFileReader(std::string path);
  const proto::ImageHead& head() const { return head_; }
  /// The next part of the image stream; false: its end, and the file is whole. `data` is at most kImageBlockMost long.
  bool next(std::string* data);
  uint64_t bytes() const { return bytes_; }
  uint64_t size() const { return size_; }

 private:
  ImageBlock block(std::string* payload);
  void read(void* data, size_t length);
  [[noreturn]] void damaged(const std::string& what) const;
  std::string path_;
  ScopedFd fd_;
  proto::ImageHead head_;
  uint64_t at_ = 0, block_at_ = 0, number_ = 0, bytes_ = 0, size_ = 0;
};

}  // namespace msocket::wire
