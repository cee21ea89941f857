// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// mpiexec's command line, host files and -configfile.
#include <sstream>
#include <stdexcept>

#include "src/tools/hydra_args.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using fuzz::must;

namespace {
void command_line(const std::string& text) {
  std::vector<std::string> words;
  std::stringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find('/') == std::string::npos) words.push_back(line);  // no file of this machine is read
  }
  bool wanted = wants_migratable(words);
  try {
    HydraArgs args = parse_hydra_args(words, "stub");
    must(args.migratable == wanted, "both looks at a command line see the same");
    must(args.hydra.size() <= 2 * words.size() + 1, "only stubs are added");
    must(args.config_file_at <= args.hydra.size(), "the configuration file has its place");
    for (const std::string& host : args.hosts) must(host.find(':') == std::string::npos, "a host is a name");
  } catch (const std::runtime_error&) {
  }
}

void files(const std::string& text) {
  if (text.find('/') != std::string::npos) return;
  for (const std::string& host : parse_host_file(text)) must(host.find(' ') == std::string::npos, "a host is one word");
  try {
    HydraArgs args;
    rewrite_config_file(text, "stub", args);
  } catch (const std::runtime_error&) {
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  if (input.number<uint8_t>() % 2) files(input.rest());
  else command_line(input.rest());
  return 0;
}
