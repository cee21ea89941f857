// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/hydra_args.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

namespace msocket {

namespace {
// How many values follow an option; kPair: NAME VALUE, or NAME=VALUE in one word.
enum class Takes { kNothing, kOne, kPair };

enum class Meaning { kHydra, kMigratable, kConfig, kHosts, kHostFile, kLauncher, kLauncherExec, kLocalhost, kConfigFile, kHelp };

struct Option {
  Takes takes;
  Meaning meaning = Meaning::kHydra;
};

const std::map<std::string, Option>& options() {
  using enum Takes;
  using enum Meaning;
  static const std::map<std::string, Option> table = {
      {"migratable", {kNothing, kMigratable}},
      {"config", {kOne, kConfig}},
      {"help", {kNothing, kHelp}},
      {"h", {kNothing, kHelp}},
      {"f", {kOne, kHostFile}},
      {"hostfile", {kOne, kHostFile}},
      {"machinefile", {kOne, kHostFile}},
      {"machine", {kOne, kHosts}},
      {"machines", {kOne, kHosts}},
      {"machinelist", {kOne, kHosts}},
      {"host", {kOne, kHosts}},
      {"hosts", {kOne, kHosts}},
      {"hostlist", {kOne, kHosts}},
      {"launcher", {kOne, kLauncher}},
      {"bootstrap", {kOne, kLauncher}},
      {"launcher-exec", {kOne, kLauncherExec}},
      {"bootstrap-exec", {kOne, kLauncherExec}},
      {"localhost", {kOne, kLocalhost}},
      {"configfile", {kOne, kConfigFile}},
      {"genv", {kPair}},
      {"env", {kPair}},
      {"genvlist", {kOne}},
      {"envlist", {kOne}},
      {"n", {kOne}},
      {"np", {kOne}},
      {"ppn", {kOne}},
      {"wdir", {kOne}},
      {"output-from", {kOne}},
      {"prepend-pattern", {kOne}},
      {"outfile-pattern", {kOne}},
      {"errfile-pattern", {kOne}},
      {"outfile", {kOne}},
      {"errfile", {kOne}},
      {"rmk", {kOne}},
      {"topolib", {kOne}},
      {"binding", {kOne}},
      {"bind-to", {kOne}},
      {"map-by", {kOne}},
      {"membind", {kOne}},
      {"demux", {kOne}},
      {"iface", {kOne}},
      {"nameserver", {kOne}},
      {"order-nodes", {kOne}},
      {"usize", {kOne}},
      {"gpus-per-proc", {kOne}},
      {"g", {kOne}},
  };
  return table;
}

struct Word {
  std::string name;   // lower case, without dashes
  std::string value;  // joined with '='
  bool joined = false;
};

Word split_option(const std::string& text) {
  Word word;
  size_t from = text.find_first_not_of('-');
  if (from == std::string::npos) return word;
  size_t equals = text.find('=', from);
  word.name = text.substr(from, equals == std::string::npos ? equals : equals - from);
  std::transform(word.name.begin(), word.name.end(), word.name.begin(), [](unsigned char c) { return std::tolower(c); });
  word.joined = equals != std::string::npos;
  if (word.joined) word.value = text.substr(equals + 1);
  return word;
}

// Options that are not in the table take nothing; Hydra complains about those it does not know.
Option find_option(const Word& word) {
  auto found = options().find(word.name);
  return found == options().end() ? Option{Takes::kNothing} : found->second;
}

size_t values_after(const Option& option, const Word& word, const std::vector<std::string>& args, size_t at) {
  if (option.takes == Takes::kNothing) return 0;
  size_t wanted = word.joined ? 0 : 1;
  if (option.takes == Takes::kPair) {
    std::string first = word.joined ? word.value : at + 1 < args.size() ? args[at + 1] : "";
    if (first.find('=') == std::string::npos) wanted++;
  }
  return wanted;
}

void add_hosts(HydraArgs& into, const std::string& list) {
  std::stringstream parts(list);
  std::string host;
  while (std::getline(parts, host, ',')) {
    host = host.substr(0, host.find(':'));
    if (!host.empty()) into.hosts.push_back(host);
  }
}

std::string read_whole(const std::string& path, const char* what) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(std::string(what) + " " + path + ": " + std::strerror(errno));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// One option: `values` are the words after it; false: Hydra is not to see it.
bool take_option(HydraArgs& into, const Option& option, const std::string& value) {
  switch (option.meaning) {
    case Meaning::kMigratable:
      into.migratable = true;
      return false;
    case Meaning::kConfig:
      into.config = value;
      return false;
    case Meaning::kLauncher:
      into.launcher = value;
      return false;
    case Meaning::kLauncherExec:
      into.launcher_exec = value;
      return false;
    case Meaning::kHosts:
      add_hosts(into, value);
      return true;
    case Meaning::kHostFile:
      for (std::string& host : parse_host_file(read_whole(value, "host file"))) into.hosts.push_back(std::move(host));
      return true;
    case Meaning::kLocalhost:
      into.has_localhost = true;
      return true;
    case Meaning::kConfigFile:
      into.config_file = value;
      return true;
    case Meaning::kHelp:
      into.help = true;
      return true;
    case Meaning::kHydra:
      return true;
  }
  return true;
}

void parse_words(HydraArgs& into, const std::vector<std::string>& args, const std::string& stub) {
  for (size_t i = 0; i < args.size();) {
    if (args[i].empty() || args[i][0] != '-') {
      if (args[i] != ":") {
        into.has_program = true;
        into.hydra.push_back(stub);
      }
      while (i < args.size() && args[i] != ":") into.hydra.push_back(args[i++]);
      if (i < args.size()) into.hydra.push_back(args[i++]);
      continue;
    }
    Word word = split_option(args[i]);
    Option option = find_option(word);
    size_t values = values_after(option, word, args, i);
    if (i + values >= args.size() + (values == 0)) throw std::runtime_error(args[i] + ": a value is missing");
    std::string value = word.joined ? word.value : values ? args[i + 1] : "";
    if (take_option(into, option, value)) {
      for (size_t j = 0; j <= values; j++) into.hydra.push_back(args[i + j]);
      if (option.meaning == Meaning::kConfigFile) {
        into.config_file_at = into.hydra.size() - 1;
        if (word.joined) into.hydra.back() = value;  // so that there is one word to replace
        if (word.joined) into.hydra.insert(into.hydra.end() - 1, "-configfile"), into.config_file_at++;
      }
    }
    i += 1 + values;
  }
}
}  // namespace

HydraArgs parse_hydra_args(const std::vector<std::string>& args, const std::string& stub) {
  HydraArgs result;
  parse_words(result, args, stub);
  return result;
}

bool wants_migratable(const std::vector<std::string>& args) {
  for (size_t i = 0; i < args.size();) {
    if (args[i].empty() || args[i][0] != '-') {
      while (i < args.size() && args[i] != ":") i++;
      i++;
      continue;
    }
    Word word = split_option(args[i]);
    Option option = find_option(word);
    if (option.meaning == Meaning::kMigratable) return true;
    i += 1 + values_after(option, word, args, i);
  }
  return false;
}

std::vector<std::string> parse_host_file(const std::string& text) {
  std::vector<std::string> hosts;
  std::stringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::stringstream words(line.substr(0, line.find('#')));
    std::string host;
    if (words >> host) hosts.push_back(host.substr(0, host.find(':')));
  }
  return hosts;
}

std::string rewrite_config_file(const std::string& text, const std::string& stub, HydraArgs& args) {
  std::string out;
  std::stringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::stringstream stream(line.substr(0, line.find('#')));
    std::vector<std::string> words;
    for (std::string word; stream >> word;) words.push_back(word);
    HydraArgs parsed = parse_hydra_args(words, stub);
    args.has_program |= parsed.has_program;
    args.hosts.insert(args.hosts.end(), parsed.hosts.begin(), parsed.hosts.end());
    if (!parsed.launcher.empty()) args.launcher = parsed.launcher;
    if (!parsed.launcher_exec.empty()) args.launcher_exec = parsed.launcher_exec;
    for (const std::string& word : parsed.hydra) out += word + " ";
    out += "\n";
  }
  return out;
}

}  // namespace msocket
