// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Socket addresses as programs write them. An AF_INET6 socket that is not IPv6-only is virtual under the IPv4-mapped names.
#pragma once
#include <sys/socket.h>

#include "src/transport/vsocket.h"

namespace msocket::transport {

enum class NameKind {
  kVirtual,  ///< in the virtual network
  kAny,      ///< the unspecified address
  kOther,    ///< another host or family, or not a name at all
};

NameKind read_name(const sockaddr* address, socklen_t length, Endpoint* endpoint);
/// Writes the endpoint as the socket's family has it; the address may be null.
void write_name(const VSocket* vs, const Endpoint& endpoint, sockaddr* address, socklen_t* length);
bool is_virtual(uint32_t ip);

}  // namespace msocket::transport
