// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/names.h"

#include <charconv>
#include <stdexcept>

namespace msocket {

std::string rank_name(const std::string& job, uint32_t rank) { return job + ":" + std::to_string(rank); }

std::pair<std::string, uint32_t> parse_rank_name(const std::string& text) {
  auto colon = text.rfind(':');
  uint32_t rank = 0;
  if (colon != std::string::npos && colon > 0) {
    const char *first = text.data() + colon + 1, *last = text.data() + text.size();
    auto [end, error] = std::from_chars(first, last, rank);
    if (error == std::errc() && end == last && first != last) return {text.substr(0, colon), rank};
  }
  throw std::runtime_error("'" + text + "' is not a rank: write JOB:RANK, for example 1:3");
}

std::string node_names(const std::vector<proto::NodeInfo>& nodes, bool only_alive) {
  std::string names;
  for (const auto& node : nodes)
    if (node.alive() || !only_alive) names += (names.empty() ? "" : " ") + node.name();
  return names.empty() ? "none" : names;
}

const proto::NodeInfo* find_node(const std::vector<proto::NodeInfo>& nodes, const std::string& name) {
  for (const auto& node : nodes)
    if (node.name() == name) return &node;
  return nullptr;
}

}  // namespace msocket
