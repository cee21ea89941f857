// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The build id in a file that claims to be a program.
#include "src/util/build_id.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  msocket::fuzz::Input input(data, size);
  std::string file = input.rest();
  msocket::fuzz::must(msocket::note_build_id(file).size() <= file.size(), "an id lies in its file");
  return 0;
}
