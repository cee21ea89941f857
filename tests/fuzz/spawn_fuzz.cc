// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A rank's PMI text on its way to Hydra. Where it is cut on the way must not matter.
#include "src/tools/pmi_spawn.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using fuzz::must;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  uint8_t step = 1 + input.number<uint8_t>() % 32;
  std::string text = input.rest();
  PmiSpawnRewriter whole("/stub"), parts("/stub");
  std::string out, at_once = whole.feed(text);
  for (size_t at = 0; at < text.size(); at += step) {
    std::string part = text.substr(at, step);
    part.shrink_to_fit();
    out += parts.feed(part);
  }
  must(out == at_once, "cuts do not matter");
  if (text.find("mcmd=spawn") == std::string::npos && !text.empty() && text.back() == '\n')
    must(out == text, "what is no spawn passes as it is");
  return 0;
}
