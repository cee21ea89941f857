// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A table for a terminal: aligned columns, two spaces between them.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace msocket {

class Table {
 public:
  /// `right`: the columns (from 0) that are aligned to the right.
  Table(std::vector<std::string> head, std::set<size_t> right);
  void add(std::vector<std::string> row);
  std::string text() const;

 private:
  std::set<size_t> right_;
  std::vector<std::vector<std::string>> rows_;
};

/// "64.1 MiB"
std::string human_bytes(uint64_t bytes);

}  // namespace msocket
