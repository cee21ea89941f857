// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What people call ranks and nodes. No I/O.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "src/wire/msocket.pb.h"

namespace msocket {

/// "1:3"
std::string rank_name(const std::string& job, uint32_t rank);
/// The inverse; throws when `text` is not JOB:RANK.
std::pair<std::string, uint32_t> parse_rank_name(const std::string& text);
/// "a b c"
std::string node_names(const std::vector<proto::NodeInfo>& nodes, bool only_alive);
/// nullptr when there is none of that name.
const proto::NodeInfo* find_node(const std::vector<proto::NodeInfo>& nodes, const std::string& name);

}  // namespace msocket
