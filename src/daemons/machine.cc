// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <iomanip>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>

#include "src/daemons/processor.h"
#include "src/util/build_id.h"
#include "src/util/text.h"

namespace msocket::daemons {

namespace {
BuildIds build_ids;

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

std::string hex(const std::string& bytes) {
  std::ostringstream text;
  text << std::hex << std::setfill('0');
  for (unsigned char byte : bytes) text << std::setw(2) << static_cast<int>(byte);
  return text.str();
}

// The kernel has mapped it into this process, too.
std::string vdso_build_id() {
  std::ifstream in("/proc/self/maps");
  std::string line;
  while (std::getline(in, line)) {
    if (!line.ends_with("[vdso]")) continue;
    size_t dash = line.find('-');
    auto start = std::stoull(line, nullptr, 16), end = std::stoull(line.substr(dash + 1), nullptr, 16);
    return note_build_id({reinterpret_cast<const char*>(start), end - start});
  }
  return {};
}

uint64_t huge_pages_free(uint64_t size) {
  if (std::string fake = faked("huge_pages"); !fake.empty()) return std::stoull(fake);
  std::string folder = "/sys/kernel/mm/hugepages/hugepages-" + std::to_string(size >> 10) + "kB/";
  auto number = [&](const char* name) -> int64_t {
    auto text = read_file(folder + name);
    return text ? strtoll(text->c_str(), nullptr, 10) : 0;
  };
  int64_t free = number("free_hugepages") - number("resv_hugepages") + number("nr_overcommit_hugepages") - number("surplus_hugepages");
  return free > 0 ? free : 0;
}

// Nothing is opened: that could wait, or do something to a device.
std::string why_not_file(const proto::NeededFile& file) {
  struct stat st;
  const std::string& path = file.path();
  bool folder = file.flags() & O_DIRECTORY;
  if (stat(path.c_str(), &st) != 0) return (folder ? "no directory " : "no file ") + path + " there";
  if (folder) return S_ISDIR(st.st_mode) ? "" : path + " is no directory there";
  if (path.starts_with("/proc/")) return {};  // its size says nothing
  int mode = file.flags() & O_ACCMODE;
  bool path_only = file.flags() & O_PATH;
  if (!path_only && mode != O_WRONLY && access(path.c_str(), R_OK) != 0) return path + " cannot be read there";
  if (!path_only && mode != O_RDONLY && access(path.c_str(), W_OK) != 0) return path + " cannot be written there";
  if (S_ISREG(st.st_mode) && static_cast<uint64_t>(st.st_size) < file.size())
    return path + " has " + std::to_string(st.st_size) + " bytes there instead of " + std::to_string(file.size());
  return {};
}
}  // namespace

std::string faked(const std::string& name) {
  const char* all = getenv("MSOCKET_FAKE_MACHINE");
  if (!all) return {};
  for (const auto& word : split(all, ' '))
    if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
  return {};
}

std::string own_cpu() {
  std::string lacking = faked("cpu");
  if (lacking.empty()) return cpu_signature();
  std::vector<std::string> names;
  for (const auto& word : split(lacking, ',')) names.push_back(word.starts_with("-") ? word.substr(1) : word);
  return without_features(cpu_signature(), names);
}

void describe_machine(proto::Needs* needs) {
  std::string page_size = faked("page_size"), kernel = faked("kernel"), vdso = faked("vdso");
  needs->set_page_size(page_size.empty() ? static_cast<uint32_t>(sysconf(_SC_PAGESIZE)) : std::stoul(page_size));
  struct utsname name {};
  uname(&name);
  needs->set_kernel(kernel.empty() ? name.release : kernel);
  needs->set_vdso(vdso.empty() ? vdso_build_id() : vdso);
}
std::vector<proto::MappedFile> mapped_files(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/maps");
  if (!in && errno == EACCES)
    throw std::runtime_error("it has hidden itself (prctl PR_SET_DUMPABLE), and its daemon is not root: its memory map cannot be read");
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

std::vector<std::string> compare_files(const std::vector<proto::MappedFile>& files) {
  std::vector<std::string> reasons;
  for (const auto& file : files) {
    struct stat st;
    if (stat(file.path().c_str(), &st) != 0) {
      reasons.push_back("no file " + file.path() + " there");
      continue;
    }
    std::string here = faked("build_id") == file.path() ? "another" : build_ids.of(file.path());
    if (here != file.build_id())
      reasons.push_back(file.path() + " is another version there (build id " + hex(here) + " instead of " + hex(file.build_id()) + ")");
  }
  return reasons;
}

std::vector<std::string> missing_needs(const proto::Needs& needs) {
  std::vector<std::string> reasons;
  for (const auto& file : needs.files())
    if (std::string why = why_not_file(file); !why.empty()) reasons.push_back(why);
  std::map<uint64_t, uint64_t> pages;
  for (const auto& one : needs.huge_pages()) pages[one.size()] += one.count();
  for (auto [size, count] : pages)
    if (uint64_t free = huge_pages_free(size); free < count)
      reasons.push_back(std::to_string(count) + " huge pages of " + std::to_string(size >> 10) + " KiB wanted, " +
                        std::to_string(free) + " free");
  proto::Needs here;
  describe_machine(&here);
  if (needs.page_size() && needs.page_size() != here.page_size())
    reasons.push_back("its pages have " + std::to_string(here.page_size()) + " bytes instead of " + std::to_string(needs.page_size()));
  if (!needs.vdso().empty() && needs.vdso() != here.vdso())
    reasons.push_back("it runs another kernel (" + here.kernel() + " instead of " + needs.kernel() + "), whose vdso is another (build id " +
                      hex(here.vdso()) + " instead of " + hex(needs.vdso()) + ")");
  return reasons;
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

std::string program_of(pid_t pid) {
  char path[4096];
  ssize_t n = readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), path, sizeof path);
  return n > 0 ? std::string(path, n) : std::string();
}

uint64_t memory_free() { return meminfo("MemAvailable:"); }
uint64_t memory_total() { return meminfo("MemTotal:"); }

double load_average() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : 0;
}

}  // namespace msocket::daemons
