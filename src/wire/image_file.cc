// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <stdexcept>

namespace msocket::wire {

namespace {
constexpr size_t kSum = crypto_generichash_BYTES;
static_assert(kSum == 32);

void checksum(const ImageBlockHeader& header, const void* payload, unsigned char* sum) {
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, kSum);
  crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(&header), sizeof header);
  crypto_generichash_update(&state, static_cast<const unsigned char*>(payload), header.len);
  crypto_generichash_final(&state, sum, kSum);
}

std::string folder_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}
}  // namespace

ImageFileWriter::ImageFileWriter(std::string path, int level)
    : path_(std::move(path)), partial_(path_ + ".tmp-XXXXXX"), level_(level) {
  struct stat st;
  if (stat(path_.c_str(), &st) == 0 && !S_ISREG(st.st_mode)) throw std::runtime_error(path_ + ": is not a file");
  fd_.reset(mkostemp(partial_.data(), O_CLOEXEC));
  if (!fd_) {
    partial_.clear();
    fail();
  }
  ImageFileStart start;
  write(&start, sizeof start);
}

ImageFileWriter::~ImageFileWriter() {
  if (!partial_.empty()) unlink(partial_.c_str());
}

void ImageFileWriter::fail() { throw std::runtime_error(path_ + ": " + strerror(errno)); }

void ImageFileWriter::write(const void* data, size_t length) {
  auto* at = static_cast<const char*>(data);
  while (length) {
    ssize_t n = ::write(fd_.get(), at, length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail();
    at += n;
    size_ += n;
    length -= n;
  }
}

void ImageFileWriter::block(ImageBlock type, const void* payload, size_t length) {
  ImageBlockHeader header{type, static_cast<uint32_t>(length), end_.blocks++};
  unsigned char sum[kSum];
  checksum(header, payload, sum);
  write(&header, sizeof header);
  write(payload, length);
  write(sum, sizeof sum);
}

void ImageFileWriter::data(const char* bytes, size_t length) {
  size_t packed = 0;
  if (level_) {
    packed_.resize(ZSTD_compressBound(kImageBlockMost));
    packed = ZSTD_compress(packed_.data(), packed_.size(), bytes, length, level_);
    if (ZSTD_isError(packed)) throw std::runtime_error(path_ + ": zstd: " + ZSTD_getErrorName(packed));
  }
  // What does not get smaller stays as it is.
  if (level_ && packed < length) block(ImageBlock::kPacked, packed_.data(), packed);
  else block(ImageBlock::kData, bytes, length);
  end_.bytes += length;
}

void ImageFileWriter::head(const proto::ImageHead& head) {
  std::string text = head.SerializeAsString();
  if (text.size() > kImageBlockMost) throw std::runtime_error(path_ + ": the process's streams do not fit into its head");
  block(ImageBlock::kHead, text.data(), text.size());
}

void ImageFileWriter::finish() {
  ImageFileEnd end = end_;
  block(ImageBlock::kEnd, &end, sizeof end);
  if (fsync(fd_.get()) != 0) fail();
  if (rename(partial_.c_str(), path_.c_str()) != 0) fail();
  partial_.clear();
  ScopedFd folder(open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder) fsync(folder.get());
}

ImageFileReader::ImageFileReader(std::string path) : path_(std::move(path)) {
  fd_.reset(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st;
  if (!fd_ || fstat(fd_.get(), &st) != 0) throw std::runtime_error(path_ + ": " + strerror(errno));
  if (!S_ISREG(st.st_mode)) throw std::runtime_error(path_ + ": is not a file");
  size_ = st.st_size;
  ImageFileStart start{0, 0, 0};
  if (size_ >= sizeof start) read(&start, sizeof start);
  if (start.magic != kImageFileMagic) throw std::runtime_error(path_ + ": is not an image of a process");
  if (start.version != kImageFileVersion) throw std::runtime_error(path_ + ": is an image of another version of msocket");
  std::string text;
  if (block(&text) != ImageBlock::kHead || !head_.ParseFromString(text)) damaged("no head");
}

void ImageFileReader::damaged(const std::string& what) const {
  throw std::runtime_error(path_ + ": the image is damaged at offset " + std::to_string(block_at_) + ": " + what);
}

void ImageFileReader::read(void* data, size_t length) {
  auto* to = static_cast<char*>(data);
  while (length) {
    ssize_t n = ::read(fd_.get(), to, length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::runtime_error(path_ + ": " + strerror(errno));
    if (n == 0) damaged("the file ends in this block");
    to += n;
    length -= n;
    at_ += n;
  }
}

ImageBlock ImageFileReader::block(std::string* payload) {
  block_at_ = at_;
  ImageBlockHeader header;
  read(&header, sizeof header);
  if (header.number != number_ || header.len > kImageBlockMost) damaged("not the header of block " + std::to_string(number_));
  payload->resize(header.len);
  read(payload->data(), header.len);
  unsigned char sum[kSum], expected[kSum];
  read(sum, sizeof sum);
  checksum(header, payload->data(), expected);
  if (sodium_memcmp(sum, expected, kSum) != 0) damaged("the checksum of block " + std::to_string(number_) + " is wrong");
  ++number_;
  return header.type;
}

void ImageFileReader::unpack(std::string* data) {
  std::string plain(kImageBlockMost, '\0');
  size_t length = ZSTD_decompress(plain.data(), plain.size(), data->data(), data->size());
  if (ZSTD_isError(length)) damaged(std::string("it cannot be unpacked: ") + ZSTD_getErrorName(length));
  plain.resize(length);
  *data = std::move(plain);
  packed_ = true;
}

bool ImageFileReader::next(std::string* data) {
  ImageBlock type = block(data);
  if (type == ImageBlock::kPacked) {
    unpack(data);
    type = ImageBlock::kData;
  }
  if (type == ImageBlock::kData) {
    bytes_ += data->size();
    return true;
  }
  ImageFileEnd end;
  if (type != ImageBlock::kEnd || data->size() != sizeof end) damaged("a block of unknown kind");
  memcpy(&end, data->data(), sizeof end);
  if (end.bytes != bytes_ || end.blocks + 1 != number_) damaged("the totals are wrong");
  if (at_ != size_) damaged("something follows the end");
  data->clear();
  return false;
}

}  // namespace msocket::wire
