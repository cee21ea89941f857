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

/// This node's processor (processor.h), as a process finds it.
std::string own_cpu();
/// Page size, kernel, and the build id of the vdso: pointers into that are all over a process's memory.
void describe_machine(proto::Needs* needs);

/// The files that a process has mapped executable, with their build ids; throws std::runtime_error if it has gone.
std::vector<proto::MappedFile> mapped_files(pid_t pid);
/// Why `files` of another node cannot be used here: each that is missing, or of another build, by name.
std::vector<std::string> compare_files(const std::vector<proto::MappedFile>& files);

/// Why a process that needs all this cannot come here.
std::vector<std::string> missing_needs(const proto::Needs& needs);

/// For tests: MSOCKET_FAKE_MACHINE in the daemon's environment, words "NAME=VALUE", makes the daemon see another machine:
///   cpu=-avx2,-fma   features that it lacks            page_size=65536
///   kernel=6.0       vdso=abcd                         huge_pages=0
///   build_id=PATH    that file is of another build
/// Empty: nothing is faked.
std::string faked(const std::string& name);

struct Usage {
  uint64_t resident = 0;  ///< bytes
  double cpu_seconds = 0;
};
Usage process_usage(pid_t pid);
/// A child of ours has ended, although the loop may not have come to its end yet. It stays to be waited for.
bool child_has_ended(pid_t child);
/// 0 if it has gone.
uint32_t thread_count(pid_t pid);
/// The path of the program that it runs; empty: it is gone.
std::string program_of(pid_t pid);
/// Bytes that programs can still have without swapping (MemAvailable), and in all.
uint64_t memory_free();
uint64_t memory_total();
double load_average();

}  // namespace msocket::daemons
