// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/timeline.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

namespace msocket {

std::string timeline_line(const proto::MoveReport& report) {
  nlohmann::ordered_json line;
  line["job"] = report.job();
  line["rank"] = report.rank();
  line["from"] = report.from();
  line["to"] = report.to();
  line["start"] = report.start();
  line["bytes"] = report.bytes();
  line["pause_ms"] = report.pause_ms();
  line["total_ms"] = report.total_ms();
  line["generation"] = report.generation();
  line["connections"] = report.connections();
  line["standby"] = report.standby();
  for (const auto& stage : report.stages()) line["stages"][stage.name()] = std::round(1000 * stage.ms()) / 1000;
  line["rounds"] = report.rounds();
  line["precopied"] = report.precopied();
  line["pause_bytes"] = report.pause_bytes();
  line["precopy_ms"] = report.precopy_ms();
  if (!report.no_precopy().empty()) line["no_precopy"] = report.no_precopy();
  return line.dump();
}

void append_to_timeline(const proto::MoveReport& report) {
  const char* path = std::getenv("MSOCKET_TIMELINE");
  if (!path || !*path) return;
  std::string line = timeline_line(report) + "\n";
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  bool good = fd >= 0 && write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  static bool told = false;
  if (!good && !told) std::fprintf(stderr, "MSOCKET_TIMELINE=%s: %s\n", path, std::strerror(errno));
  told |= !good;
  if (fd >= 0) close(fd);
}

}  // namespace msocket
