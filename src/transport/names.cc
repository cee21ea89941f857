// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/transport/names.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "src/transport/runtime.h"

namespace msocket::transport {

namespace {
constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
}

bool is_virtual(uint32_t ip) { return (ip & rt.netmask) == rt.network; }

NameKind read_name(const sockaddr* address, socklen_t length, Endpoint* endpoint) {
  *endpoint = {};
  if (!address || length < sizeof(sa_family_t)) return NameKind::kOther;
  if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in;
    memcpy(&in, address, sizeof in);
    endpoint->ip = ntohl(in.sin_addr.s_addr);
    endpoint->port = ntohs(in.sin_port);
  } else if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in;
    memcpy(&in, address, sizeof in);
    endpoint->port = ntohs(in.sin6_port);
    if (memcmp(in.sin6_addr.s6_addr, kMapped, sizeof kMapped) == 0) {
      uint32_t ip;
      memcpy(&ip, in.sin6_addr.s6_addr + sizeof kMapped, sizeof ip);
      endpoint->ip = ntohl(ip);
    } else if (memcmp(&in.sin6_addr, &in6addr_any, sizeof in.sin6_addr) != 0) {
      return NameKind::kOther;
    }
  } else {
    return NameKind::kOther;
  }
  if (endpoint->ip == INADDR_ANY) return NameKind::kAny;
  return is_virtual(endpoint->ip) ? NameKind::kVirtual : NameKind::kOther;
}

void write_name(const VSocket* vs, const Endpoint& endpoint, sockaddr* address, socklen_t* length) {
  if (!address || !length) return;
  auto copy = [&](const void* from, socklen_t size) {
    memcpy(address, from, *length < size ? *length : size);
    *length = size;
  };
  if (vs->family6) {
    sockaddr_in6 in;
    memset(&in, 0, sizeof in);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(endpoint.port);
    uint32_t ip = htonl(endpoint.ip);
    if (endpoint.ip != INADDR_ANY) {
      memcpy(in.sin6_addr.s6_addr, kMapped, sizeof kMapped);
      memcpy(in.sin6_addr.s6_addr + sizeof kMapped, &ip, sizeof ip);
    }
    copy(&in, sizeof in);
  } else {
    sockaddr_in in;
    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    in.sin_addr.s_addr = htonl(endpoint.ip);
    copy(&in, sizeof in);
  }
}

}  // namespace msocket::transport
