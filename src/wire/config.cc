// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/wire/config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

namespace msocket {

namespace {
using nlohmann::json;
namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& line) { throw std::runtime_error(line); }

// One object of the file; says where in it something is wrong.
class Section {
 public:
  Section(const json& object, std::string where, std::initializer_list<const char*> known)
      : object_(object), where_(std::move(where)) {
    if (!object.is_object()) fail(where_ + ": an object {...} is expected here");
    for (const auto& item : object.items()) {
      bool found = false;
      std::string all;
      for (const char* name : known) {
        found |= item.key() == name;
        all += (all.empty() ? "" : ", ") + std::string(name);
      }
      if (!found) fail(where_ + ": unknown key \"" + item.key() + "\" (known: " + all + ")");
    }
  }
  bool has(const char* key) const { return object_.contains(key); }
  const json& at(const char* key) const { return object_.at(key); }
  std::string text(const char* key, std::string fallback) const {
    if (!has(key)) return fallback;
    if (!at(key).is_string()) fail(where_ + ": \"" + key + "\" must be a string");
    return at(key).get<std::string>();
  }
  uint32_t number(const char* key, uint32_t fallback, uint32_t most) const {
    if (!has(key)) return fallback;
    if (!at(key).is_number_unsigned() || at(key).get<uint64_t>() > most)
      fail(where_ + ": \"" + key + "\" must be a number from 0 to " + std::to_string(most));
    return at(key).get<uint32_t>();
  }
  bool flag(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!at(key).is_boolean()) fail(where_ + ": \"" + key + "\" must be true or false");
    return at(key).get<bool>();
  }
  const std::string& where() const { return where_; }

 private:
  const json& object_;
  std::string where_;
};

std::string resolve(const std::string& host, const std::string& where) {
  in_addr address{};
  if (inet_pton(AF_INET, host.c_str(), &address) == 1) return host;
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  if (host.empty() || getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0 || !found)
    fail(where + ": \"address\" must be an IPv4 address or a known host name, not \"" + host + "\"");
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_addr, text, sizeof text);
  freeaddrinfo(found);
  return text;
}

void check_secret(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) fail(path + ": " + std::strerror(errno));
  if (info.st_mode & 077)
    fail(path + ": holds the cluster's key and can be read by others (chmod 600 it, and make a new key if they have)");
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) fail(path + ": " + std::strerror(errno));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A byte at a time: what follows the line belongs to somebody else.
std::string read_line_of_stdin() {
  std::string line;
  char c = 0;
  while (line.size() < 1024 * 1024) {
    ssize_t got = read(STDIN_FILENO, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || c == '\n') break;
    line.push_back(c);
  }
  return line;
}

constexpr const char* kLocal = "msocket-local-";

bool ours_alone(const std::string& path) {
  struct stat info{};
  return lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == getuid() && !(info.st_mode & 077);
}

bool session_lives(const fs::path& folder) {
  if (folder.filename().string().starts_with(kLocal))
    return folder == local_cluster_folder() && lifeline_held(folder / "lifeline");
  int fd = open((folder / "lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  close(fd);
  return held;
}
}  // namespace

Subnet parse_subnet(const std::string& text) {
  auto slash = text.find('/');
  in_addr address{};
  Subnet subnet;
  char* rest = nullptr;
  long bits = 0;
  if (slash != std::string::npos && slash + 1 < text.size()) bits = std::strtol(&text[slash + 1], &rest, 10);
  if (!rest || *rest || bits < 4 || bits > 30 ||
      inet_pton(AF_INET, text.substr(0, slash).c_str(), &address) != 1)
    fail("\"" + text + "\" is not a subnet like 240.0.0.0/16");
  subnet.bits = static_cast<int>(bits);
  subnet.network = ntohl(address.s_addr);
  if (subnet.network & (0xffffffffu >> subnet.bits)) fail("\"" + text + "\" has bits set outside its network part");
  return subnet;
}

Config parse_config(const std::string& text, const std::string& name, const std::string& folder) {
  json root;
  try {
    root = json::parse(text, nullptr, true, true);
  } catch (const json::parse_error& error) {
    fail(name + ": not JSON, at byte " + std::to_string(error.byte));
  } catch (const json::exception&) {
    fail(name + ": not JSON that we can hold: a number is too large");
  }
  Section top(root, name, {"key", "key_file", "masters", "node"});
  Config config;

  if (top.has("key") == top.has("key_file"))
    fail(name + ": needs either \"key\" (64 hexadecimal digits) or \"key_file\"");
  std::string key = top.text("key", ""), source = name + ": \"key\"";
  if (top.has("key_file")) {
    fs::path path = top.text("key_file", "");
    if (path.is_relative()) path = fs::path(folder) / path;
    check_secret(path);
    if (!fs::is_regular_file(path)) fail(path.string() + ": not a file");
    key = read_file(path);
    source = path;
  }
  try {
    config.key = wire::key_from_hex(key);
  } catch (const std::exception& error) {
    fail(source + ": " + error.what() + " (make one: openssl rand -hex 32)");
  }

  if (!top.has("masters") || !top.at("masters").is_array() || top.at("masters").empty())
    fail(name + ": \"masters\" must be a list of at least one {\"subnet\", \"address\", \"port\"}");
  for (size_t i = 0; i < top.at("masters").size(); i++) {
    Section entry(top.at("masters")[i], name + ": masters[" + std::to_string(i) + "]", {"subnet", "address", "port"});
    MasterConfig master;
    master.subnet = entry.text("subnet", master.subnet);
    try {
      parse_subnet(master.subnet);
    } catch (const std::exception& error) {
      fail(entry.where() + ": \"subnet\": " + error.what());
    }
    master.address = resolve(entry.text("address", ""), entry.where());
    master.port = entry.number("port", master.port, 65535);
    config.masters.push_back(master);
  }

  if (top.has("node")) {
    Section node(top.at("node"), name + ": node", {"name", "address", "port", "slots", "bind", "move_limit"});
    config.node.name = node.text("name", "");
    if (config.node.name.empty()) fail(node.where() + ": \"name\" is missing: what users call this node");
    config.node.address = node.has("address") ? resolve(node.text("address", ""), node.where())
                                              : outward_address(config.masters.front().address);
    config.node.port = node.number("port", config.node.port, 65535);
    config.node.slots = node.number("slots", 0, 1u << 20);
    config.node.move_limit = node.number("move_limit", 0, 1u << 20);
    config.node.bind = node.flag("bind", true);
  }
  return config;
}

Config load_config(const std::string& path) {
  if (path == "-") return parse_config(read_line_of_stdin(), "standard input");
  std::string text = read_file(path);
  Config config = parse_config(text, path, fs::path(path).parent_path());
  if (json::parse(text, nullptr, true, true).contains("key")) check_secret(path);
  return config;
}

std::string config_to_json(const Config& config) {
  json root;
  root["key"] = wire::key_to_hex(config.key);
  root["masters"] = json::array();
  for (const MasterConfig& master : config.masters)
    root["masters"].push_back({{"subnet", master.subnet}, {"address", master.address}, {"port", master.port}});
  const NodeConfig& node = config.node;
  if (!node.name.empty()) {
    root["node"] = {{"name", node.name}, {"port", node.port}, {"slots", node.slots}, {"bind", node.bind},
                    {"move_limit", node.move_limit}};
    if (!node.address.empty()) root["node"]["address"] = node.address;
  }
  return root.dump();
}

void save_config(const Config& config, const std::string& path) {
  std::string temporary = path + ".new";  // readers see the old file or the new one, never half of it
  unlink(temporary.c_str());
  int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  std::string text = config_to_json(config) + "\n";
  bool good = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd >= 0) good &= close(fd) == 0;
  if (!good || rename(temporary.c_str(), path.c_str()) != 0) fail(path + ": " + std::strerror(errno));
}

std::string outward_address(const std::string& to) {
  sockaddr_in peer{}, mine{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(9);  // nothing is sent: connect() only chooses the way
  socklen_t length = sizeof mine;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool good = inet_pton(AF_INET, to.c_str(), &peer.sin_addr) == 1 &&
              connect(fd, reinterpret_cast<sockaddr*>(&peer), sizeof peer) == 0 &&
              getsockname(fd, reinterpret_cast<sockaddr*>(&mine), &length) == 0;
  int error = errno;
  if (fd >= 0) close(fd);
  if (!good) fail("no way to " + to + ": " + std::strerror(error));
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &mine.sin_addr, text, sizeof text);
  return text;
}

std::string runtime_base() {
  if (const char* given = std::getenv("XDG_RUNTIME_DIR"); given && *given && access(given, W_OK | X_OK) == 0)
    return given;
  std::string path = "/tmp/msocket-" + std::to_string(getuid());
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) fail(path + ": " + std::strerror(errno));
  if (!ours_alone(path)) fail(path + ": is not a directory of yours alone (remove it, or set XDG_RUNTIME_DIR)");
  return path;
}

std::string local_cluster_folder() {
  std::string path = runtime_base() + "/" + kLocal + std::to_string(getuid());
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0 && errno == ENOENT) return path;
  if (!ours_alone(path)) fail(path + ": is not a directory of yours alone (remove it, or set XDG_RUNTIME_DIR)");
  return path;
}

bool lifeline_held(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  char c = 0;
  bool held = read(fd, &c, 1) < 0 && errno == EAGAIN;  // without a writer it would be the end of file
  close(fd);
  return held;
}

std::optional<std::string> find_config(const std::string& given, bool sessions) {
  if (!given.empty()) return given;
  if (const char* path = std::getenv("MSOCKET_CONFIG"); path && *path) return path;
  if (!sessions) return std::nullopt;
  std::optional<std::string> newest;
  fs::file_time_type newest_time{};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(runtime_base(), error)) {
    if (entry.path().filename().string().rfind("msocket-", 0) != 0) continue;
    fs::path config = entry.path() / "config.json";
    auto time = fs::last_write_time(config, error);
    if (error || (newest && time <= newest_time) || !session_lives(entry.path())) continue;
    newest = config;
    newest_time = time;
  }
  return newest;
}

}  // namespace msocket
