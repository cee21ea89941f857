// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/fitness.h"

#include <unistd.h>

#include <stdexcept>

#include "src/daemons/machine.h"
#include "src/daemons/namespaces.h"
#include "src/daemons/processor.h"

namespace msocket::daemons {

namespace {
// A thread's id is in every recursive mutex that it holds: with new ones the program would wait for itself.
std::string why_not_threads(const Node& node, const proto::Prepare& request) {
  if (request.threads() < 2) return {};
  std::string have = "it has " + std::to_string(request.threads()) + " threads, and node " + node.name() + " cannot keep their ids: ";
  if (namespaces_here().kind == NamespaceKind::kNone) return have + namespaces_here().why_not;
  if (!can_have_pid(static_cast<pid_t>(request.pid())))
    return have + std::to_string(request.pid()) + " is more than its kernel.pid_max";
  return {};
}
}  // namespace

std::vector<std::string> why_not_here(Node& node, const proto::Prepare& request) {
  std::vector<std::string> reasons;
  const std::string here = "node " + node.name();
  Rank::Ptr present = node.find(request.vip());
  bool resumed_here = present && present->suspended && present->busy && !request.image().empty();
  try {
    if (!resumed_here) node.check_room();
  } catch (const std::exception& error) {
    reasons.push_back(error.what());
  }
  if (present && !resumed_here) reasons.push_back(here + " has a process of that address already");
  for (const auto& reason : missing_features(request.cpu(), own_cpu()))
    reasons.push_back(here + " has another kind of processor: " + reason);
  if (std::string threads = why_not_threads(node, request); !threads.empty()) reasons.push_back(threads);
  if (uint64_t free = memory_free(); request.memory() > free)
    reasons.push_back(here + " has no room: " + std::to_string(request.memory() >> 20) + " MiB wanted, " +
                      std::to_string(free >> 20) + " MiB free");
  if (access(request.program().c_str(), X_OK) != 0) reasons.push_back(here + " has no program " + request.program());
  std::vector<proto::MappedFile> files;
  for (const auto& file : request.files())
    if (file.path() != request.program() || access(file.path().c_str(), F_OK) == 0) files.push_back(file);
  for (const auto& reason : compare_files(files)) reasons.push_back(here + ": " + reason);
  for (const auto& reason : missing_needs(request.needs())) reasons.push_back(here + ": " + reason);
  return reasons;
}

}  // namespace msocket::daemons
