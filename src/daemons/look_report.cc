// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/look_report.h"

#include <sstream>

namespace msocket::daemons {

void parse_look(const std::string& text, LookReport* report) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string kind;
    words >> kind >> std::ws;
    if (kind == "no") {
      std::string reason;
      std::getline(words, reason);
      report->reasons.push_back(reason);
    } else if (kind == "file") {
      unsigned flags = 0;
      uint64_t size = 0;
      std::string path;
      words >> std::oct >> flags >> std::dec >> size;
      words.get();
      std::getline(words, path);
      if (path.empty()) continue;
      auto* file = report->needs.add_files();
      file->set_flags(flags);
      file->set_size(size);
      file->set_path(path);
    } else if (kind == "pages") {
      words >> report->bytes >> report->regions;
    } else if (kind == "peer") {
      uint32_t ip = 0, opened = 0;
      if (!(words >> ip >> opened)) continue;
      auto& peer = report->peers[ip];
      ++(opened ? peer.opened : peer.accepted);
    }
  }
}

}  // namespace msocket::daemons
