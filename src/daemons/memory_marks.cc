// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/memory_marks.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <string_view>

#include "src/util/text.h"

namespace msocket::daemons {

namespace {

struct Mapping {
  uint64_t start = 0, end = 0, page_kib = 4, shared_kib = 0;
  std::string modes, path, inode;
  uint32_t flags = 0;
  bool no_reserve = false, huge_tlb = false;
};

constexpr struct {
  const char* word;
  uint32_t flag;
} kWords[] = {
    {"hg", wire::kMarkHuge},       {"nh", wire::kMarkNoHuge},     {"mg", wire::kMarkMergeable}, {"dc", wire::kMarkDontFork},
    {"dd", wire::kMarkDontDump},   {"wf", wire::kMarkWipeOnFork}, {"sr", wire::kMarkSequential}, {"rr", wire::kMarkRandom},
    {"lo", wire::kMarkLocked},     {"lf", wire::kMarkOnFault},    {"gd", wire::kMarkGrowsDown},
};

// "7f00-7f10 rw-p 00000000 fd:01 1234   /path with blanks"
bool parse_head(const std::string& line, Mapping* mapping) {
  if (line.empty() || !std::strchr("0123456789abcdef", line[0])) return false;  // most lines: names begin with a capital
  char modes[8], inode[32];
  int path = 0;
  unsigned long start, end, offset;
  char device[16];
  if (std::sscanf(line.c_str(), "%lx-%lx %7s %lx %15s %31s %n", &start, &end, modes, &offset, device, inode, &path) < 6) return false;
  *mapping = {};
  mapping->start = start;
  mapping->end = end;
  mapping->modes = modes;
  mapping->inode = std::string(device) + " " + inode;
  if (path > 0 && static_cast<size_t>(path) < line.size()) mapping->path = line.substr(path);
  return true;
}

void parse_line(const std::string& line, Mapping* mapping) {
  // A large process has thousands of lines, and a move waits for this.
  auto is = [&](const char* start) { return line.starts_with(start); };
  if (!is("VmFlags:") && !is("KernelPageSize:") && !is("Shared_Clean:") && !is("Shared_Dirty:")) return;
  std::string_view rest = std::string_view(line).substr(line.find(':') + 1);
  if (is("VmFlags:")) {
    for (auto& word : split(rest, ' ')) {
      for (const auto& one : kWords)
        if (word == one.word) mapping->flags |= one.flag;
      if (word == "nr") mapping->no_reserve = true;
      if (word == "ht") mapping->huge_tlb = true;
    }
    return;
  }
  uint64_t kib = strtoull(rest.data(), nullptr, 10);
  if (is("KernelPageSize:")) mapping->page_kib = kib;
  else mapping->shared_kib += kib;
}

// Of shared memory that no path leads to: it has to be this process's alone.
bool nameless(const Mapping& m) { return m.modes.size() > 3 && m.modes[3] == 's' && m.path.ends_with(" (deleted)"); }

}  // namespace

MemoryMarks parse_smaps(std::istream& in) {
  std::vector<Mapping> all;
  std::string line;
  Mapping mapping;
  while (std::getline(in, line)) {
    if (parse_head(line, &mapping)) all.push_back(mapping);
    else if (!all.empty()) parse_line(line, &all.back());
  }
  std::map<std::string, int> mapped;  // how often: a second mapping of its own counts as sharing
  for (const auto& m : all) ++mapped[m.inode];
  MemoryMarks result;
  for (const auto& m : all) {
    if (m.path.starts_with("[v")) continue;  // the kernel's own: vdso, vvar, vsyscall
    if (nameless(m) && m.shared_kib && mapped[m.inode] == 1)
      result.reasons.push_back("memory mapped from " + m.path + " is shared memory: another process has it, too");
    wire::MemoryMark mark{m.start, m.end, m.flags, 12};
    if (m.path == "[stack]") mark.flags &= ~wire::kMarkGrowsDown;
    if (m.huge_tlb && m.modes[3] == 'p' && m.path.starts_with("/anon_hugepage")) {
      mark.flags |= wire::kMarkHugeTlb;
      mark.page_shift = 10 + static_cast<uint32_t>(__builtin_ctzll(m.page_kib));
      proto::HugePages pages;
      pages.set_size(m.page_kib * 1024);
      pages.set_count(m.no_reserve ? 0 : (m.end - m.start) / pages.size());
      result.huge_pages.push_back(pages);
    }
    if (mark.flags) result.marks.push_back(mark);
  }
  if (result.marks.size() > static_cast<size_t>(wire::kMaxMarks)) {
    result.reasons.push_back("it has more than " + std::to_string(wire::kMaxMarks) + " pieces of memory with marks (madvise, mlock)");
    result.marks.resize(wire::kMaxMarks);
  }
  return result;
}

}  // namespace msocket::daemons
