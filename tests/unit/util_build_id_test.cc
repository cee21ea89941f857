// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Build ids that are kept: they must be another's as soon as the file is another.
#include "src/util/build_id.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace msocket {
namespace {

struct Folder {
  char path[32] = "/tmp/msocket-test-XXXXXX";
  Folder() { EXPECT_NE(mkdtemp(path), nullptr); }
  ~Folder() {
    unlink(file().c_str());
    unlink((file() + ".new").c_str());
    rmdir(path);
  }
  std::string file() const { return std::string(path) + "/program"; }
};

void write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::trunc) << text; }

TEST(BuildIds, AreThoseOfTheFile) {
  BuildIds ids;
  EXPECT_EQ(ids.of("/proc/self/exe"), build_id("/proc/self/exe"));
  EXPECT_EQ(ids.of("/proc/self/exe"), build_id("/proc/self/exe"));
  EXPECT_FALSE(ids.of("/proc/self/exe").empty());
  EXPECT_EQ(ids.of("/no/such/file"), "");
}

TEST(BuildIds, FollowAFileThatChanges) {
  Folder folder;
  BuildIds ids;
  write(folder.file(), "one");
  std::string one = ids.of(folder.file());
  EXPECT_EQ(one, build_id(folder.file()));
  // Of the same length and the same time of change: as `make install` may leave it, the inode tells.
  struct stat before;
  ASSERT_EQ(stat(folder.file().c_str(), &before), 0);
  write(folder.file() + ".new", "two");
  timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, (folder.file() + ".new").c_str(), times, 0), 0);
  ASSERT_EQ(rename((folder.file() + ".new").c_str(), folder.file().c_str()), 0);
  EXPECT_EQ(ids.of(folder.file()), build_id(folder.file()));
  EXPECT_NE(ids.of(folder.file()), one);
  unlink(folder.file().c_str());
  EXPECT_EQ(ids.of(folder.file()), "");
}

}  // namespace
}  // namespace msocket
