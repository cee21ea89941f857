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
  if (text.substr(prefix.size()) == "kill") raise(SIGKILL);
  throw std::runtime_error("refused at " + std::string(stage) + " (MSOCKET_FAULT)");
}

}  // namespace msocket::daemons
