// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "src/wire/config.h"

namespace msocket {
namespace {

const std::string kKey = "\"key\": \"" + std::string(64, 'a') + "\"";

std::string refusal(const std::string& text) {
  try {
    parse_config(text, "conf");
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST(Config, ReadsWhatItWrites) {
  Config config = parse_config("{" + kKey + R"(, "masters": [{"subnet": "240.1.0.0/16", "address": "10.0.0.1"}],
      "node": {"name": "a", "address": "10.0.0.2", "port": 0, "slots": 3, "bind": false, "move_limit": 7}})", "conf");
  Config again = parse_config(config_to_json(config), "conf");
  EXPECT_EQ(again.key, config.key);
  EXPECT_EQ(again.masters.at(0).subnet, "240.1.0.0/16");
  EXPECT_EQ(again.masters.at(0).port, kDefaultMasterPort);
  EXPECT_EQ(again.node.name, "a");
  EXPECT_EQ(again.node.port, 0);
  EXPECT_EQ(again.node.slots, 3u);
  EXPECT_EQ(again.node.move_limit, 7u);
  EXPECT_FALSE(again.node.bind);
}

TEST(Config, NamesWhatIsWrong) {
  std::string masters = R"("masters": [{"address": "10.0.0.1"}])";
  EXPECT_EQ(refusal("{" + kKey + "," + masters + "}"), "");
  EXPECT_NE(refusal("{").find("conf: not JSON"), std::string::npos);
  EXPECT_NE(refusal(R"({"key": 1e999})").find("conf: not JSON"), std::string::npos);
  EXPECT_NE(refusal("{" + masters + "}").find("\"key\""), std::string::npos);
  EXPECT_NE(refusal("{" + kKey + "}").find("\"masters\""), std::string::npos);
  EXPECT_NE(refusal("{" + kKey + "," + masters + ", \"kee\": 1}").find("unknown key \"kee\""), std::string::npos);
  EXPECT_NE(refusal("{\"key\": \"12\"," + masters + "}").find("64 hexadecimal digits"), std::string::npos);
  EXPECT_NE(refusal("{" + kKey + R"(, "masters": [{"address": "10.0.0.1", "port": 70000}]})").find("masters[0]"),
            std::string::npos);
  EXPECT_NE(refusal("{" + kKey + R"(, "masters": [{"address": "10.0.0.1", "subnet": "240.0.0.1/16"}]})").find("subnet"),
            std::string::npos);
  EXPECT_NE(refusal("{" + kKey + "," + masters + R"(, "node": {"address": "10.0.0.1"}})").find("\"name\""),
            std::string::npos);
}

TEST(Config, KnowsSubnets) {
  EXPECT_EQ(parse_subnet("240.1.0.0/16").network, 0xf0010000u);
  EXPECT_EQ(parse_subnet("240.1.0.0/16").bits, 16);
  for (const char* bad : {"240.1.0.0", "240.1.0.0/", "240.1.0.0/33", "x/16", "240.1.0.0/16x"})
    EXPECT_THROW(parse_subnet(bad), std::runtime_error) << bad;
}

}  // namespace
}  // namespace msocket
