// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The file that a suspended process is kept in: blocks with a checksum each, packed with zstd or not. See doc/image-format.md. Blocking calls: a
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
inline constexpr uint32_t kImageFileVersion = 2;
inline constexpr uint32_t kImageBlockMost = 1024 * 1024;
inline constexpr int kImageLevelMost = 19;

enum class ImageBlock : uint32_t {
  kHead = 1,  ///< an ImageHead (msocket.proto); the first
  kData = 2,  ///< the next bytes of the image stream
  kEnd = 3,   ///< ImageFileEnd; the last
  kPacked = 4,  ///< as kData, as a zstd frame of its own: at most kImageBlockMost also when unpacked
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
  /// A new file beside `path`; nothing is at `path` itself before finish(). `level`: zstd's, 1 to kImageLevelMost; 0: not packed.
  explicit ImageFileWriter(std::string path, int level = 0);
  ~ImageFileWriter();
  void head(const proto::ImageHead& head);
  /// The next part of the stream, at most kImageBlockMost.
  void data(const char* bytes, size_t length);
  /// The end mark; all of it is on the disk and has its name when this returns.
  void finish();
  uint64_t bytes() const { return end_.bytes; }  ///< of the stream
  uint64_t size() const { return size_; }        ///< of the file

 private:
  void block(ImageBlock type, const void* payload, size_t length);
  void write(const void* data, size_t length);
  [[noreturn]] void fail();
  std::string path_, partial_, packed_;
  int level_;
  ScopedFd fd_;
  ImageFileEnd end_;
  uint64_t size_ = 0;
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
  bool packed() const { return packed_; }  ///< of what has been read

 private:
  ImageBlock block(std::string* payload);
  void unpack(std::string* data);
  void read(void* data, size_t length);
  [[noreturn]] void damaged(const std::string& what) const;
  std::string path_;
  ScopedFd fd_;
  proto::ImageHead head_;
  uint64_t at_ = 0, block_at_ = 0, number_ = 0, bytes_ = 0, size_ = 0;
  bool packed_ = false;
};

}  // namespace msocket::wire
