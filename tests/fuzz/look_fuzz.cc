// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What a process has written about itself when it was looked at (src/wire/look.h): any text.
#include <algorithm>

#include "src/daemons/look_report.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using fuzz::must;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  text.shrink_to_fit();
  daemons::LookReport report;
  daemons::parse_look(text, &report);
  auto one_line = [](const std::string& words) { return words.find('\n') == std::string::npos; };
  size_t lines = 1 + static_cast<size_t>(std::count(text.begin(), text.end(), '\n')), told = report.reasons.size();
  for (const auto& reason : report.reasons) must(one_line(reason), "a reason is one line");
  for (const auto& file : report.needs.files()) {
    must(!file.path().empty() && one_line(file.path()), "a file has a name, of one line");
    ++told;
  }
  for (const auto& [ip, peer] : report.peers) told += peer.opened + peer.accepted;
  must(told <= lines, "no line says two things");
  must(!report.answered, "a text is no answer");
  return 0;
}
