// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// MSOCKET_TIMELINE=FILE: every finished move of the job is appended as one JSON object on a line of its own:
//   {"job":"1","rank":3,"from":"a","to":"c","start":1700000000.123,"bytes":67200000,"pause_ms":41.2,"total_ms":80.1,
//    "generation":2,"connections":5,"rounds":3,"precopied":67000000,"pause_bytes":200000,"precopy_ms":35.1,"stages":{"find":0.4,...}}
// The fields: doc/migration.md.
#pragma once
#include <string>

#include "src/wire/msocket.pb.h"

namespace msocket {

std::string timeline_line(const proto::MoveReport& report);

/// Does nothing when MSOCKET_TIMELINE is not set. A file that cannot be written is reported once, on stderr.
void append_to_timeline(const proto::MoveReport& report);

}  // namespace msocket
