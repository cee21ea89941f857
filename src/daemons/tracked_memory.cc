// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/tracked_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "src/checkpoint/image_check.h"
#include "src/checkpoint/pagemap.h"
#include "src/util/text.h"

namespace msocket::daemons {

namespace {

using namespace checkpoint;

// <linux/userfaultfd.h> of Debian 12 knows neither.
constexpr uint64_t kWpUnpopulated = 1 << 13, kWpAsync = 1 << 15;
constexpr size_t kRegions = 2048;
constexpr uint64_t kStackRoom = 64 << 20;  // more than a stack grows while its mapping is looked at

bool is_userfault(int fd) {
  char target[64];
  ssize_t n = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target, sizeof target);
  return n > 0 && std::string(target, n) == "anon_inode:[userfaultfd]";
}

}  // namespace

struct ScanRequest : ScanArgument {
  std::vector<ScanRegion> found{kRegions};
};

TrackedMemory::TrackedMemory(pid_t pid, ScopedFd userfault) : pid_(pid), userfault_(std::move(userfault)) {}

std::string TrackedMemory::begin() {
  if (!is_userfault(userfault_.get())) return "its process gives something else than a userfaultfd";
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = kWpAsync | kWpUnpopulated;
  if (ioctl(userfault_.get(), UFFDIO_API, &api) != 0) return "this kernel does not tell which pages are written (Linux 6.7 does)";
  pagemap_.reset(open(file("pagemap").c_str(), O_RDONLY | O_CLOEXEC));
  if (!pagemap_) return std::string("its page map cannot be read: ") + strerror(errno);
  ScanRequest request{};
  request.end = kPageSize;
  if (scan(request) < 0) return "this kernel does not tell which pages are written (Linux 6.7 does)";
  return {};
}

long TrackedMemory::scan(ScanRequest& request) const {
  request.size = sizeof(ScanArgument);
  request.vec = reinterpret_cast<uint64_t>(request.found.data());
  request.vec_len = request.found.size();
  long n;
  do n = ioctl(pagemap_.get(), kScan, static_cast<ScanArgument*>(&request));
  while (n < 0 && errno == EINTR);
  return n;
}

MemoryAreas TrackedMemory::areas() const {
  auto text = read_file(file("maps"));
  if (!text || text->empty()) throw std::runtime_error("it has ended");
  must_be_same_program();  // what was read may be the beginning of another
  return copyable_areas(*text);
}

// What is tracked dies with the program.
void TrackedMemory::must_be_same_program() const {
  uffdio_writeprotect none{};
  none.range = {0, kPageSize};
  if (ioctl(userfault_.get(), UFFDIO_WRITEPROTECT, &none) != 0 && errno == ESRCH)
    throw std::runtime_error("it has become another program (exec)");
}

std::vector<PageSet::Run> TrackedMemory::track(const MemoryAreas& found) {
  // What is tracked is passed over mapping by mapping, so that this looks at hardly a page.
  PageSet untracked;
  std::vector<PageSet::Run> runs;
  ScanRequest request{};
  request.category_inverted = request.category_mask = kPageTracked;
  for (request.end = kUserEnd; request.start < request.end; request.start = request.walk_end) {
    long n = scan(request);
    if (n < 0) throw std::runtime_error(std::string("its pages cannot be looked at: ") + strerror(errno));
    for (long i = 0; i < n; ++i) runs.push_back({request.found[i].start, request.found[i].end});
  }
  untracked.add(runs);
  std::vector<PageSet::Run> fresh, wanted;
  uint64_t below = 0;
  for (const auto& area : found.areas) {
    untracked.each_part(area.start, area.end, [&](uint64_t start, uint64_t end, bool inside) {
      if (!inside) return;
      fresh.push_back({start, end});
      // The stack may have grown since: tracked in part it would be two mappings.
      bool grows = area.kind == wire::RegionKind::kStack && start == area.start && start > kStackRoom;
      wanted.push_back({grows ? std::max(below, start - kStackRoom) : start, end});
    });
    below = area.end;
  }
  // No more than these: what the program puts in the place of a tracked mapping, by mremap with its pages and their marks, say, must
  // stay untracked until the next look, or nobody would know that it is another. What the kernel refuses, because the program
  // tracks some of it itself, say, is sent at the freeze.
  for (const auto& run : wanted) {
    uffdio_register range{};
    range.range = {run.start, run.end - run.start};
    range.mode = UFFDIO_REGISTER_MODE_WP;
    if (ioctl(userfault_.get(), UFFDIO_REGISTER, &range) != 0 || !tracked_before_) continue;
    // Marks of an earlier registration, which ended when the mapping was joined with one that had been moved, stay and hide writes.
    // Not the first time: there are none, and to look through 1 GiB for them takes 30 ms.
    uffdio_writeprotect none{};
    none.range = range.range;
    ioctl(userfault_.get(), UFFDIO_WRITEPROTECT, &none);
  }
  tracked_before_ = true;
  return fresh;
}

// In anonymous memory no page is a file's: the kernel need not look.
void TrackedMemory::ask_written(ScanRequest& request, const wire::ImageRegion& area) {
  uint64_t not_these = area.kind == wire::RegionKind::kFile ? kPageFile | kPageZero : kPageZero;
  request.category_inverted = not_these;
  request.category_mask = not_these | kPageWritten;
  request.category_anyof_mask = kPagePresent | kPageSwapped;
  request.return_mask = kPageWritten;
}

std::vector<PageSet::Run> TrackedMemory::take_written(const wire::ImageRegion& area, uint64_t* at, uint64_t end) {
  std::vector<PageSet::Run> pages;
  ScanRequest request{};
  ask_written(request, area);
  request.flags = kScanProtect;
  request.start = *at;
  request.end = end;
  long n = scan(request);
  if (n < 0) throw std::runtime_error(std::string("its pages cannot be looked at: ") + strerror(errno));
  for (long i = 0; i < n; ++i) pages.push_back({request.found[i].start, request.found[i].end});
  *at = request.walk_end;
  return pages;
}

uint64_t TrackedMemory::written(const std::vector<wire::ImageRegion>& areas) const {
  uint64_t sum = 0;
  ScanRequest request{};
  for (const auto& area : areas) {
    ask_written(request, area);
    request.end = area.end;
    for (request.start = area.start; request.start < request.end; request.start = request.walk_end) {
      long n = scan(request);
      if (n < 0) throw std::runtime_error(std::string("its pages cannot be looked at: ") + strerror(errno));
      for (long i = 0; i < n; ++i) sum += request.found[i].end - request.found[i].start;
    }
  }
  return sum;
}

bool TrackedMemory::reads_directly() const {
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator(file("fdinfo"), gone)) {
    auto text = read_file(entry.path());
    size_t at = text ? text->find("flags:") : std::string::npos;
    if (at != std::string::npos && (strtoul(text->c_str() + at + 6, nullptr, 8) & O_DIRECT)) return true;
  }
  return false;
}

size_t TrackedMemory::read(const std::vector<PageSet::Run>& pages, char* to) const {
  std::vector<iovec> there;
  there.reserve(pages.size());
  size_t all = 0;
  for (const auto& run : pages) {
    there.push_back({reinterpret_cast<void*>(run.start), run.end - run.start});
    all += run.end - run.start;
  }
  iovec here{to, all};
  ssize_t n = process_vm_readv(pid_, &here, 1, there.data(), there.size(), 0);
  if (n < 0 && errno == ESRCH) throw std::runtime_error("it has ended");
  if (n < 0 && errno == EPERM) throw std::runtime_error("its memory cannot be read (ptrace_scope?)");
  return n < 0 ? 0 : static_cast<size_t>(n);
}

}  // namespace msocket::daemons
