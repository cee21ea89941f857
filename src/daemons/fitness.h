// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "src/daemons/node.h"

namespace msocket::daemons {

/// Everything that stands against this process coming to this node: one line each, which names the node. Nothing is begun.
std::vector<std::string> why_not_here(Node& node, const proto::Prepare& request);

}  // namespace msocket::daemons
