// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/machine.h"

#include <cpuid.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>

#include "src/util/build_id.h"
#include "src/util/text.h"

namespace msocket::daemons {

namespace {
uint64_t meminfo(const std::string& key) {
  std::ifstream in("/proc/meminfo");
  std::string name, unit;
  uint64_t kib = 0;
  while (in >> name >> kib) {
    std::getline(in, unit);
    if (name == key) return kib * 1024;
  }
  return 0;
}

BuildIds build_ids;

std::string ask_processor() {
  std::ostringstream text;
  unsigned a = 0, b = 0, c = 0, d = 0;
  text << "x86-64 " << std::hex;
  if (__get_cpuid(1, &a, &b, &c, &d)) text << "1:" << (c & ~(1u << 27)) << "," << d << " ";  // not OSXSAVE: the kernel's
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) text << "7:" << b << "," << c << "," << d << " ";
  if (__get_cpuid_count(13, 0, &a, &b, &c, &d)) text << "xsave:" << a << "," << b;
  return text.str();
}
}  // namespace

std::string cpu_signature() {
  static const std::string signature = ask_processor();  // under a hypervisor each question is an exit to it
  return signature;
}

std::vector<proto::MappedFile> mapped_files(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/maps");
  if (!in) throw std::runtime_error("the process has ended");
  std::vector<proto::MappedFile> files;
  std::set<std::string> seen;
  std::string line;
  while (std::getline(in, line)) {
    size_t slash = line.find('/');
    if (slash == std::string::npos || line.size() < 22) continue;
    size_t blank = line.find(' ');
    if (blank == std::string::npos || line[blank + 3] != 'x') continue;
    std::string path = line.substr(slash);
    if (path.ends_with(" (deleted)"))
      throw std::runtime_error("the file " + path.substr(0, path.size() - 10) +
                               ", which it has mapped, was replaced or deleted since");
    if (!seen.insert(path).second) continue;
    proto::MappedFile file;
    file.set_path(path);
    file.set_build_id(build_ids.of(path));
    files.push_back(file);
  }
  return files;
}

std::string compare_files(const std::vector<proto::MappedFile>& files) {
  for (const auto& file : files) {
    struct stat st;
    if (stat(file.path().c_str(), &st) != 0) return "no file " + file.path() + " there";
    if (build_ids.of(file.path()) != file.build_id()) return file.path() + " is another version there";
  }
  return {};
}

Usage process_usage(pid_t pid) {
  Usage usage;
  std::ifstream statm("/proc/" + std::to_string(pid) + "/statm");
  uint64_t size = 0, resident = 0;
  if (statm >> size >> resident) usage.resident = resident * sysconf(_SC_PAGESIZE);
  auto stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  if (!stat) return usage;
  size_t close = stat->rfind(')');
  if (close == std::string::npos) return usage;
  std::istringstream fields(stat->substr(close + 2));
  std::string word;
  uint64_t user = 0, system = 0;
  for (int i = 3; i <= 13; ++i) fields >> word;  // state is field 3, utime field 14
  fields >> user >> system;
  usage.cpu_seconds = static_cast<double>(user + system) / sysconf(_SC_CLK_TCK);
  return usage;
}

bool child_has_ended(pid_t child) {
  siginfo_t info{};
  return waitid(P_PID, child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

uint32_t thread_count(pid_t pid) {
  auto status = read_file("/proc/" + std::to_string(pid) + "/status");
  size_t at = status ? status->find("\nThreads:") : std::string::npos;
  return at == std::string::npos ? 0 : static_cast<uint32_t>(strtoul(status->c_str() + at + 9, nullptr, 10));
}

uint64_t memory_free() { return meminfo("MemAvailable:"); }
uint64_t memory_total() { return meminfo("MemTotal:"); }

double load_average() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : 0;
}

}  // namespace msocket::daemons
