// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/image_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace msocket::wire {
namespace {

namespace fs = std::filesystem;

class ImageFileTest : public testing::Test {
 protected:
  ImageFileTest() {
    char name[] = "/tmp/msocket-test-XXXXXX";
    folder_ = mkdtemp(name);
    path_ = folder_ / "image";
  }
  ~ImageFileTest() override { fs::remove_all(folder_); }

  void write(const std::vector<std::string>& parts, int level = 0) {
    ImageFileWriter file(path_, level);
    proto::ImageHead head;
    head.set_node("a");
    head.mutable_prepare()->set_program("/bin/program");
    file.head(head);
    for (auto& part : parts) file.data(part.data(), part.size());
    EXPECT_FALSE(fs::exists(path_)) << "there before it is whole";
    file.finish();
    EXPECT_EQ(file.size(), fs::file_size(path_));
  }

  /// What is in it, or "!" and the complaint.
  static std::string read(const fs::path& path) {
    try {
      ImageFileReader file(path);
      std::string all = file.head().node() + ":", part;
      while (file.next(&part)) all += part;
      return all;
    } catch (const std::exception& error) {
      return std::string("!") + error.what();
    }
  }

  std::string bytes() const {
    std::stringstream text;
    text << std::ifstream(path_, std::ios::binary).rdbuf();
    return text.str();
  }
  void overwrite(const std::string& text) const { std::ofstream(path_, std::ios::binary | std::ios::trunc) << text; }

  fs::path folder_, path_;
};

TEST_F(ImageFileTest, WhatIsWrittenIsRead) {
  std::string big(kImageBlockMost, 'x');
  write({"one", "", big, "two"});
  EXPECT_TRUE(read(path_) == "a:one" + big + "two");
  EXPECT_EQ(fs::status(path_).permissions() & fs::perms::mask, fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(ImageFileTest, AnyChangedByteIsFoundAndNothingOfItsBlockIsGiven) {
  write({"the first part", "the second"});
  const std::string good = bytes();
  for (size_t at = 0; at < good.size(); ++at) {
    if (at >= 12 && at < 16) continue;  // padding
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    overwrite(bad);
    std::string got = read(path_);
    ASSERT_EQ(got[0], '!') << "byte " << at << " may be changed";
    bool named = at < sizeof(ImageFileStart) || got.find("damaged at offset ") != std::string::npos;
    EXPECT_TRUE(named) << got;
  }
}

TEST_F(ImageFileTest, WhatIsPackedIsRead) {
  std::string big(kImageBlockMost, 'x'), noise(5000, 0);
  for (char& c : noise) c = static_cast<char>(random());
  for (int level : {1, 3, kImageLevelMost}) {
    fs::remove(path_);
    write({big, "two", noise, big}, level);
    EXPECT_TRUE(read(path_) == "a:" + big + "two" + noise + big) << level;
    EXPECT_LT(fs::file_size(path_), 7000u) << level;
  }
  ImageFileReader file(path_);
  std::string part;
  while (file.next(&part)) {
  }
  EXPECT_TRUE(file.packed());
  EXPECT_EQ(file.bytes(), 2 * big.size() + 3 + noise.size());
}

TEST_F(ImageFileTest, AnyChangedByteOfAPackedOneIsFound) {
  write({std::string(1000, 'x') + std::string(1000, 'y')}, 3);
  const std::string good = bytes();
  for (size_t at = sizeof(ImageFileStart); at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    overwrite(bad);
    ASSERT_NE(read(path_).find("damaged at offset "), std::string::npos) << "byte " << at << " may be changed";
  }
}

TEST_F(ImageFileTest, AnyMissingEndIsFound) {
  write({"the first part", "the second"});
  const std::string good = bytes();
  for (size_t length = 0; length < good.size(); ++length) {
    overwrite(good.substr(0, length));
    ASSERT_EQ(read(path_)[0], '!') << "cut to " << length;
  }
  overwrite(good + "x");
  EXPECT_NE(read(path_).find("something follows the end"), std::string::npos);
}

TEST_F(ImageFileTest, ADamageIsNamedByItsBlock) {
  write({"abc"});
  std::string bad = bytes();
  size_t at = bad.rfind("abc");
  bad[at] = 'X';
  overwrite(bad);
  std::string place = "damaged at offset " + std::to_string(at - sizeof(ImageBlockHeader));
  EXPECT_NE(read(path_).find(place), std::string::npos) << read(path_);
}

TEST_F(ImageFileTest, ABlockLeftOutIsFound) {
  write({"abc", "def", "ghi"});
  std::string bad = bytes();
  size_t block = sizeof(ImageBlockHeader) + 3 + 32;
  bad.erase(bad.find("def") - sizeof(ImageBlockHeader), block);
  overwrite(bad);
  EXPECT_NE(read(path_).find("not the header of block 2"), std::string::npos) << read(path_);
}

TEST_F(ImageFileTest, WhatIsGivenUpLeavesNothing) {
  overwrite("what was there before");
  {
    ImageFileWriter file(path_);
    file.head({});
    file.data("abc", 3);
  }
  EXPECT_EQ(bytes(), "what was there before");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(ImageFileTest, WhatIsNoImage) {
  EXPECT_NE(read(path_).find("No such file"), std::string::npos);
  EXPECT_NE(read(folder_).find("is not a file"), std::string::npos);
  overwrite(std::string(1000, 'x'));
  EXPECT_NE(read(path_).find("is not an image of a process"), std::string::npos);
  EXPECT_THROW(ImageFileWriter(folder_ / "none" / "image"), std::runtime_error);
}

}  // namespace
}  // namespace msocket::wire
