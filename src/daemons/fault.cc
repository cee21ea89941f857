// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/fault.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>

#include <stdexcept>
#include <string>

namespace msocket::daemons {

void fault_point(const char* stage) {
  const char* wanted = getenv("MSOCKET_FAULT");
  if (!wanted) return;
  std::string text(wanted), prefix = std::string(stage) + ":";
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
