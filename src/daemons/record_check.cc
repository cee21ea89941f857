// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/record_check.h"

namespace msocket::daemons {

bool sane(wire::ControlRecord& record) {
  record.text[sizeof record.text - 1] = '\0';
  return record.magic == wire::kControlMagic && record.version == wire::kControlVersion;
}

const char* why_not_taken(const wire::ControlRecord& record, size_t descriptors, const RecordBooks& books) {
  bool brings_one = record.type == wire::Control::kListen || record.type == wire::Control::kFork ||
                    record.type == wire::Control::kUdpBind || (record.type == wire::Control::kTracked && !record.error);
  if (descriptors != (brings_one ? 1u : 0u)) return "not the descriptors that belong to it";
  switch (record.type) {
    case wire::Control::kHello:
    case wire::Control::kFork:
    case wire::Control::kUnlisten:
    case wire::Control::kUdpBind:
    case wire::Control::kUdpUnbind:
    case wire::Control::kUdpLookup:
    case wire::Control::kFrozen:
    case wire::Control::kLooked:
    case wire::Control::kRestored:
    case wire::Control::kSettled: return nullptr;
    case wire::Control::kListen: return books.listeners < kMaxSockets ? nullptr : "too many listeners";
    case wire::Control::kConnect: return books.connecting < kMaxSockets ? nullptr : "too many connections at a time";
    case wire::Control::kTracked: return books.tracking ? nullptr : "it was not asked";
    case wire::Control::kInstalled:
      return books.installing && books.answers < kMaxSockets ? nullptr : "it was given no socket";
    case wire::Control::kReconnect:
      if (!books.arriving) return "it has not moved";
      return books.reconnects < kMaxSockets ? nullptr : "too many connections";
    default: return "not for a process to say";
  }
}

}  // namespace msocket::daemons
