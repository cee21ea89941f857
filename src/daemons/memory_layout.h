// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "src/daemons/page_set.h"
#include "src/wire/image.h"

namespace msocket::daemons {

/// The mappings of a process whose pages can be copied while it runs: private ones, of a file that has a name or of none.
/// `text` is that of /proc/PID/maps. Also finds the vdso.
struct MemoryAreas {
  std::vector<wire::ImageRegion> areas;
  uint64_t vdso_start = 0, vdso_end = 0;
};
MemoryAreas copyable_areas(std::string_view text);

/// What the new process has been told of the old one's layout. The program goes on mapping and unmapping meanwhile.
class MemoryLayout {
 public:
  struct Change {
    std::vector<wire::ImageRegion> pieces;   ///< to be made in the new process; what it has there is lost
    std::vector<PageSet::Run> gone;          ///< nothing is there any more that could be copied
    std::vector<PageSet::Run> lost() const;  ///< both, ascending: pages there count as not sent
  };
  /// From what was told last to `areas` (ascending).
  Change update(const std::vector<wire::ImageRegion>& areas);
  /// Something else may be there now, in one piece where there were several: the next update tells of it as of something new.
  void forget(const std::vector<PageSet::Run>& runs);
  const std::vector<wire::ImageRegion>& areas() const { return areas_; }
  /// True when all of [start, end) is memory that is zero as long as nobody has written it.
  bool anonymous(uint64_t start, uint64_t end) const;

 private:
  std::vector<wire::ImageRegion> areas_;
};

}  // namespace msocket::daemons
