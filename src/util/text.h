// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace msocket {

/// "240.0.0.7" from a host-order address, and back.
std::string ip_text(uint32_t ip);
std::optional<uint32_t> parse_ip(std::string_view text);
/// The whole file, or nullopt when it cannot be read.
std::optional<std::string> read_file(const std::string& path);
std::vector<std::string> split(std::string_view text, char separator);

}  // namespace msocket
