// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What must be the same on both nodes before a process may move between them.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "src/wire/msocket.pb.h"

namespace msocket::daemons {

/// Processor features that programs choose code by, and the size of the register image that the kernel saves (XSAVE):
/// "x86-64 xsave=... avx2 ...". Compared as a whole.
std::string cpu_signature();

/// The files that a process has mapped executable, with their build ids; throws std::runtime_error if it has gone.
std::vector<proto::MappedFile> mapped_files(pid_t pid);
/// Empty, or the reason why `files` of another node cannot be used here: names the first file that is missing or differs.
std::string compare_files(const std::vector<proto::MappedFile>& files);

struct Usage {
  uint64_t resident = 0;  ///< bytes
  double cpu_seconds = 0;
};
Usage process_usage(pid_t pid);
/// A child of ours has ended, although the loop may not have come to its end yet. It stays to be waited for.
bool child_has_ended(pid_t child);
/// 0 if it has gone.
uint32_t thread_count(pid_t pid);
/// Bytes that programs can still have without swapping (MemAvailable), and in all.
uint64_t memory_free();
uint64_t memory_total();
double load_average();

}  // namespace msocket::daemons
