// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/look.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "src/daemons/in_thread.h"
#include "src/daemons/machine.h"
#include "src/daemons/memory_marks.h"
#include "src/wire/look.h"

namespace msocket::daemons {

namespace {

constexpr Millis kLookLimit(10000);

ScopedFd file_of(const void* data, size_t size) {
  ScopedFd fd(memfd_create("msocket-look", MFD_CLOEXEC));
  if (!fd || (size && pwrite(fd.get(), data, size, 0) != static_cast<ssize_t>(size)))
    throw std::runtime_error("no memory for a look at it");
  return fd;
}

std::string content(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) return {};
  std::string text(std::min<size_t>(st.st_size, wire::kLookMost), '\0');
  ssize_t n = pread(fd, text.data(), text.size(), 0);
  text.resize(n < 0 ? 0 : n);
  return text;
}

}  // namespace

awaitable<LookReport> look_at(asio::any_io_executor executor, Rank::Ptr rank, bool count) {
  auto found = std::make_shared<MemoryMarks>();
  pid_t pid = rank->pid;
  std::function<void()> work = [found, pid] {
    std::ifstream in("/proc/" + std::to_string(pid) + "/smaps");
    *found = parse_smaps(in);
  };
  co_await run_in_thread(executor, std::move(work));
  ScopedFd report = file_of(nullptr, 0);
  ScopedFd marks = file_of(found->marks.data(), found->marks.size() * sizeof(wire::MemoryMark));
  wire::ControlRecord record;
  record.type = wire::Control::kLook;
  record.flags = count ? wire::kLookCount : 0;
  record.arg0 = ++rank->looks;
  rank->channel->send(record, {report.get(), marks.get()});
  co_await wait_until(rank->changed, kLookLimit, [&] { return rank->looked == rank->looks || rank->exited; });
  LookReport result;
  result.answered = rank->looked == rank->looks;
  parse_look(content(report.get()), &result);
  result.reasons.insert(result.reasons.end(), found->reasons.begin(), found->reasons.end());
  for (const auto& pages : found->huge_pages) *result.needs.add_huge_pages() = pages;
  describe_machine(&result.needs);
  co_return result;
}

}  // namespace msocket::daemons
