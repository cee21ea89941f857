// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/pmi_spawn.h"

#include <charconv>
#include <cstdint>
#include <optional>

namespace msocket {

namespace {
constexpr std::string_view kSpawn = "mcmd=spawn";

std::optional<std::string_view> value_of(std::string_view line, std::string_view key) {
  if (line.size() <= key.size() || line.substr(0, key.size()) != key || line[key.size()] != '=') return std::nullopt;
  return line.substr(key.size() + 1);
}

// A request is some kilobytes; what goes on for this long is none, and passes as it is.
constexpr size_t kMaxRequest = 4 * 1024 * 1024;

struct Numbered {
  int64_t number;
  std::string_view value;
};

// "arg12=x" with the prefix "arg": 12 and "x".
std::optional<Numbered> numbered(std::string_view line, std::string_view prefix) {
  if (line.substr(0, prefix.size()) != prefix) return std::nullopt;
  std::string_view rest = line.substr(prefix.size());
  int number = 0;  // and one more than that is still a number
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  size_t digits = end - rest.data();
  if (error != std::errc() || digits >= rest.size() || rest[digits] != '=') return std::nullopt;
  return Numbered{number, rest.substr(digits + 1)};
}
}  // namespace

std::string PmiSpawnRewriter::feed(std::string_view data) {
  std::string out;
  while (!data.empty()) {
    size_t newline = data.find('\n');
    line_.append(data.substr(0, newline));
    bool whole = newline != std::string_view::npos;
    data.remove_prefix(whole ? newline + 1 : data.size());
    if (!in_spawn_) {
      bool spawn_so_far = !mid_line_ && kSpawn.substr(0, line_.size()) == line_;
      if (whole && spawn_so_far && line_.size() == kSpawn.size()) {
        in_spawn_ = true;
      } else if (!whole) {
        if (spawn_so_far) continue;
        out += line_;
        mid_line_ = true;
        line_.clear();
        continue;
      } else {
        out += line_ + "\n";
        mid_line_ = false;
        line_.clear();
        continue;
      }
    }
    if (held_ + line_.size() > kMaxRequest) {
      out += give_up();
      mid_line_ = !whole;
      if (whole) out += "\n";
      continue;
    }
    if (!whole) continue;
    held_ += line_.size() + 1;
    lines_.push_back(line_);
    line_.clear();
    if (lines_.back() == "endcmd") {
      out += rewrite();
      lines_.clear();
      held_ = 0;
      in_spawn_ = false;
    }
  }
  return out;
}

// What was held back, as it came, without the end of its last line.
std::string PmiSpawnRewriter::give_up() {
  std::string out;
  for (const std::string& line : lines_) out += line + "\n";
  out += line_;
  lines_.clear();
  line_.clear();
  held_ = 0;
  in_spawn_ = false;
  return out;
}

std::string PmiSpawnRewriter::rewrite() const {
  // Hydra puts the value of the info key "path" before the executable's name, which is the stub's now: it is taken out,
  // and put before the program's name instead.
  std::string_view path;
  int64_t path_index = -1;
  for (const std::string& line : lines_) {
    auto key = numbered(line, "info_key_");
    if (key && key->value == "path") path_index = key->number;
    auto value = numbered(line, "info_val_");
    if (value && path_index >= 0 && value->number == path_index) path = value->value;
  }
  std::string out;
  for (const std::string& line : lines_) {
    if (auto name = value_of(line, "execname")) {
      out += "execname=" + stub_ + "\narg1=";
      if (!path.empty()) out.append(path).append("/");
      out.append(*name).append("\n");
    } else if (auto count = value_of(line, "argcnt")) {
      int arguments = 0;
      std::from_chars(count->data(), count->data() + count->size(), arguments);
      out += "argcnt=" + std::to_string(int64_t{arguments} + 1) + "\n";
    } else if (auto argument = numbered(line, "arg")) {
      out += "arg" + std::to_string(argument->number + 1) + "=";
      out.append(argument->value).append("\n");
    } else if (auto key = numbered(line, "info_key_"); key && key->number == path_index) {
      out += "info_key_" + std::to_string(key->number) + "=msocket_path\n";  // Hydra ignores keys unknown to it
    } else {
      out += line + "\n";
    }
  }
  return out;
}

}  // namespace msocket
