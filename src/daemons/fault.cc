// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/fault.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>

#include <stdexcept>
#include <string>

#include "src/util/text.h"

namespace msocket::daemons {

namespace {
// A file may be changed while the daemon runs; one that is not there: no fault.
std::string wanted_fault() {
  const char* wanted = getenv("MSOCKET_FAULT");
  if (!wanted) return {};
  if (*wanted != '@') return wanted;
  std::string text = read_file(wanted + 1).value_or("");
  return text.substr(0, text.find('\n'));
}
}  // namespace

void fault_point(const char* stage) {
  std::string text = wanted_fault(), prefix = std::string(stage) + ":";
  if (!text.starts_with(prefix)) return;
  spdlog::warn("fault point {}", text);
  std::string action = text.substr(prefix.size());
  if (action == "kill") raise(SIGKILL);
  if (action == "stop") {
    raise(SIGSTOP);
    return;
  }
  throw std::runtime_error("refused at " + std::string(stage) + " (MSOCKET_FAULT)");
}

Millis test_limit(const char* variable, Millis normal) {
  const char* text = getenv(variable);
  return text ? Millis(strtoll(text, nullptr, 10)) : normal;
}

}  // namespace msocket::daemons
