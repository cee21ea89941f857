// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The configuration of a cluster, one JSON file for masters, daemons and tools:
//
//   { "key": "64 hex digits",              // or "key_file": "path", relative to this file
//     "masters": [ { "subnet": "240.0.0.0/16", "address": "10.77.0.1", "port": 7710 } ],
//     "node": { "name": "a", "address": "10.77.0.2", "port": 7711, "slots": 0, "bind": true, "move_limit": 0 } }
//
// Whatever holds the key must be readable by its owner alone. "node" is for msdaemon only; without an "address" it is the
// one from which the first master is reached. The first master is where nodes are listed. A port of 0 lets the kernel
// choose.
//
// A session is the configuration that a private cluster (mpiexec -migratable without a configuration) leaves for msctl
// while it lives: runtime_base()/msocket-PID.XXXXXX/config.json, next to a `lock` that its owner holds (flock). The cluster
// that a user's msruns share is one too: local_cluster_folder()/config.json, alive as long as its `lifeline` is held.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/wire/auth.h"

namespace msocket {

inline constexpr uint16_t kDefaultMasterPort = 7710;
inline constexpr uint16_t kDefaultDaemonPort = 7711;

struct MasterConfig {
  std::string subnet = "240.0.0.0/16";  ///< virtual addresses that this master hands out
  std::string address;                  ///< real IPv4, dotted (a host name in the file is looked up)
  uint16_t port = kDefaultMasterPort;
};

struct NodeConfig {
  std::string name;
  std::string address;
  uint16_t port = kDefaultDaemonPort;
  uint32_t slots = 0;  ///< ranks at most; 0: no limit
  uint32_t move_limit = 0;  ///< MiB/s for the memory of a rank that still runs; 0: no limit
  bool bind = true;    ///< bind ranks to cores
};

struct Config {
  wire::Key key{};
  std::vector<MasterConfig> masters;
  NodeConfig node;
};

struct Subnet {
  uint32_t network = 0;  ///< host byte order
  int bits = 0;
};
/// "a.b.c.d/n"; throws std::runtime_error with the reason.
Subnet parse_subnet(const std::string& text);

/// `name` stands for the text in messages; a relative key_file is sought in `folder`.
/// Throws std::runtime_error: one line with the name, the key and the way out.
Config parse_config(const std::string& text, const std::string& name, const std::string& folder = ".");
/// "-" reads one line from standard input and leaves what follows there.
Config load_config(const std::string& path);
/// One line, with the key in it.
std::string config_to_json(const Config& config);
/// Writes a file that only its owner can read.
void save_config(const Config& config, const std::string& path);

/// `given` if not empty, else $MSOCKET_CONFIG, else (with `sessions`) the newest live session. Nothing: there is none.
std::optional<std::string> find_config(const std::string& given, bool sessions = true);
/// Our own IPv4 address on the way to `to`; throws when there is no way.
std::string outward_address(const std::string& to);
/// $XDG_RUNTIME_DIR, else /tmp/msocket-UID (made if need be; refused unless it is ours alone).
std::string runtime_base();
/// runtime_base()/msocket-local-UID (src/tools/shared_cluster.h). It need not exist; throws when it is not ours alone.
std::string local_cluster_folder();
/// Whether somebody has the FIFO open for writing.
bool lifeline_held(const std::string& path);

}  // namespace msocket
