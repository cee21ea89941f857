// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <sstream>

#include "src/tools/hydra_args.h"

namespace msocket {
namespace {

using Words = std::vector<std::string>;

Words words(const std::string& text) {
  std::stringstream stream(text);
  Words list;
  for (std::string word; stream >> word;) list.push_back(word);
  return list;
}

HydraArgs parse(const std::string& text) { return parse_hydra_args(words(text), "STUB"); }

TEST(HydraArgs, PutsTheStubBeforeTheProgram) {
  HydraArgs args = parse("-migratable -n 4 ./heat -n 7");
  EXPECT_TRUE(args.migratable);
  EXPECT_TRUE(args.has_program);
  EXPECT_EQ(args.hydra, words("-n 4 STUB ./heat -n 7"));
}

TEST(HydraArgs, PutsTheStubBeforeEachProgramOfSeveral) {
  HydraArgs args = parse("--migratable -n 1 ./a x : -n 2 -env K V ./b -hosts : -np 3 c");
  EXPECT_EQ(args.hydra, words("-n 1 STUB ./a x : -n 2 -env K V STUB ./b -hosts : -np 3 STUB c"));
  EXPECT_TRUE(args.hosts.empty());
}

TEST(HydraArgs, CollectsHosts) {
  EXPECT_EQ(parse("-hosts a,b:2,c ./x").hosts, words("a b c"));
  EXPECT_EQ(parse("-HOST=a ./x").hosts, words("a"));
  EXPECT_EQ(parse("./x : -machines d,e ./y").hosts, words("d e"));
}

TEST(HydraArgs, KeepsOurOptionsAndTheLauncherFromHydra) {
  HydraArgs args = parse("-config f -launcher rsh -launcher-exec /bin/e -bind-to core -bootstrap=ssh ./x");
  EXPECT_EQ(args.config, "f");
  EXPECT_EQ(args.launcher, "ssh");
  EXPECT_EQ(args.launcher_exec, "/bin/e");
  EXPECT_EQ(args.hydra, words("-bind-to core STUB ./x"));
}

TEST(HydraArgs, KnowsBothFormsOfAnEnvironmentOption) {
  EXPECT_EQ(parse("-env A=1 ./x").hydra, words("-env A=1 STUB ./x"));
  EXPECT_EQ(parse("-genv A 1 ./x").hydra, words("-genv A 1 STUB ./x"));
  EXPECT_EQ(parse("-genvlist A,B -envnone -l ./x").hydra, words("-genvlist A,B -envnone -l STUB ./x"));
}

TEST(HydraArgs, RefusesAMissingValue) { EXPECT_THROW(parse("-migratable -n"), std::runtime_error); }

TEST(HydraArgs, FindsMigratableAmongOptionsOnly) {
  EXPECT_TRUE(wants_migratable(words("-n 2 -migratable ./x")));
  EXPECT_TRUE(wants_migratable(words("./x : --migratable ./y")));
  EXPECT_FALSE(wants_migratable(words("-n 2 ./x -migratable")));
  EXPECT_FALSE(wants_migratable(words("-env A -migratable ./x")));
}

TEST(HydraArgs, ReadsHostFiles) {
  EXPECT_EQ(parse_host_file("# all\na:2 binding=x\n\n  b # second\nc"), words("a b c"));
}

TEST(HydraArgs, RewritesConfigurationFiles) {
  HydraArgs args = parse("-configfile f -migratable");
  EXPECT_EQ(args.config_file, "f");
  EXPECT_EQ(args.hydra.at(args.config_file_at), "f");
  std::string text = rewrite_config_file("-n 1 ./a x\n# no\n-n 2 -hosts h ./b\n", "STUB", args);
  EXPECT_EQ(words(text), words("-n 1 STUB ./a x -n 2 -hosts h STUB ./b"));
  EXPECT_EQ(args.hosts, words("h"));
  EXPECT_TRUE(args.has_program);
}

TEST(HydraArgs, ReplacesAJoinedConfigurationFile) {
  HydraArgs args = parse("-configfile=f");
  EXPECT_EQ(args.hydra, words("-configfile f"));
  EXPECT_EQ(args.hydra.at(args.config_file_at), "f");
}

}  // namespace
}  // namespace msocket
