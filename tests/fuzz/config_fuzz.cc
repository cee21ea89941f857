// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The configuration file. What is taken must come out of config_to_json and in again as the same.
#include <netdb.h>

#include <stdexcept>

#include "src/wire/config.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using fuzz::must;

// Linked with --wrap: a fuzzer asks no name server.
extern "C" int __wrap_getaddrinfo(const char*, const char*, const addrinfo*, addrinfo**) { return EAI_NONAME; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  if (text.find("key_file") != std::string::npos && text.find('/') != std::string::npos) return 0;  // somebody's files
  try {
    Config config = parse_config(text, "config", "/nonexistent");
    must(!config.masters.empty(), "there is a master");
    for (const auto& master : config.masters) parse_subnet(master.subnet);
    std::string out = config_to_json(config);
    must(config_to_json(parse_config(out, "again")) == out, "a configuration survives being written");
  } catch (const std::runtime_error& error) {
    must(std::string(error.what()).size() > 0, "a refusal has words");
  }
  try {
    Subnet subnet = parse_subnet(text);
    must(subnet.bits >= 4 && subnet.bits <= 30, "a subnet has room");
    must((subnet.network & (0xffffffffu >> subnet.bits)) == 0, "a subnet is its network part");
  } catch (const std::runtime_error&) {
  }
  return 0;
}
