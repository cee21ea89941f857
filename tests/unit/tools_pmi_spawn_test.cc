// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "src/tools/pmi_spawn.h"

namespace msocket {
namespace {

constexpr const char* kRequest =
    "mcmd=spawn\nnprocs=2\nexecname=./child\ntotspawns=1\nspawnssofar=1\narg1=-a b=c\narg2=x\nargcnt=2\n"
    "preput_num=1\npreput_key_0=K\npreput_val_0=arg1=no\ninfo_num=0\nendcmd\n";
constexpr const char* kRewritten =
    "mcmd=spawn\nnprocs=2\nexecname=/s\narg1=./child\ntotspawns=1\nspawnssofar=1\narg2=-a b=c\narg3=x\nargcnt=3\n"
    "preput_num=1\npreput_key_0=K\npreput_val_0=arg1=no\ninfo_num=0\nendcmd\n";

TEST(PmiSpawn, PassesOtherRequestsAtOnce) {
  PmiSpawnRewriter rewriter("/s");
  EXPECT_EQ(rewriter.feed("cmd=get_maxes\ncmd=put key=execname=x\n"), "cmd=get_maxes\ncmd=put key=execname=x\n");
  EXPECT_EQ(rewriter.feed("cmd=ba"), "cmd=ba");
  EXPECT_EQ(rewriter.feed("rrier_in\n"), "rrier_in\n");
}

TEST(PmiSpawn, StartsProgramsThroughTheStub) {
  PmiSpawnRewriter rewriter("/s");
  EXPECT_EQ(rewriter.feed(std::string("cmd=x\n") + kRequest + "cmd=y\n"), std::string("cmd=x\n") + kRewritten + "cmd=y\n");
}

TEST(PmiSpawn, WorksWhereverTheBytesAreCut) {
  std::string in = std::string(kRequest) + "cmd=z\n" + kRequest, out;
  PmiSpawnRewriter rewriter("/s");
  for (char c : in) out += rewriter.feed(std::string_view(&c, 1));
  EXPECT_EQ(out, std::string(kRewritten) + "cmd=z\n" + kRewritten);
}

TEST(PmiSpawn, HandlesEverySegmentOfSpawnMultiple) {
  std::string one = "mcmd=spawn\nnprocs=1\nexecname=a\nargcnt=0\nendcmd\n";
  std::string two = "mcmd=spawn\nnprocs=1\nexecname=b\narg1=x\nargcnt=1\nendcmd\n";
  PmiSpawnRewriter rewriter("/s");
  EXPECT_EQ(rewriter.feed(one + two),
            "mcmd=spawn\nnprocs=1\nexecname=/s\narg1=a\nargcnt=1\nendcmd\n"
            "mcmd=spawn\nnprocs=1\nexecname=/s\narg1=b\narg2=x\nargcnt=2\nendcmd\n");
}

TEST(PmiSpawn, MovesTheInfoKeyPathToTheProgram) {
  PmiSpawnRewriter rewriter("/s");
  EXPECT_EQ(rewriter.feed("mcmd=spawn\nexecname=a\nargcnt=0\ninfo_num=2\ninfo_key_0=wdir\ninfo_val_0=/w\n"
                          "info_key_1=path\ninfo_val_1=/opt/p\nendcmd\n"),
            "mcmd=spawn\nexecname=/s\narg1=/opt/p/a\nargcnt=1\ninfo_num=2\ninfo_key_0=wdir\ninfo_val_0=/w\n"
            "info_key_1=msocket_path\ninfo_val_1=/opt/p\nendcmd\n");
}

}  // namespace
}  // namespace msocket
