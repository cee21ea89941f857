// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/tracking.h"

#include <errno.h>
#include <fcntl.h>

#include <initializer_list>

#include "src/checkpoint/boot.h"
#include "src/checkpoint/maps.h"
#include "src/transport/channel.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"

namespace msocket::checkpoint {

namespace {

uint64_t layout_then;

// Of all mappings but the heap and the stack, which grow as they are.
uint64_t layout_sum() {
  char* text = boot()->maps_text;
  long length = read_maps(text, sizeof boot()->maps_text);
  if (length < 0) return 0;
  uint64_t sum = 1;
  const char *p = text, *end = text + length;
  for (Map map; next_map(p, end, &map);) {
    if (path_starts(map, "[")) continue;
    for (uint64_t word : {map.start, map.end, uint64_t{map.shared}}) {
      sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
      sum ^= sum >> 29;
    }
  }
  return sum;
}

}  // namespace

bool layout_changed() {
  uint64_t now = layout_sum();
  return now == 0 || now != layout_then;
}

void offer_tracking() {
  layout_then = layout_sum();
  constexpr int kUserModeOnly = 1;  // needs no privilege; what the kernel writes for the program is noted all the same
  wire::ControlRecord record;
  record.type = wire::Control::kTracked;
  long fd = raw::sys(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | kUserModeOnly);
  if (fd < 0) record.error = static_cast<int32_t>(-fd);
  int own = static_cast<int>(fd);
  transport::send_control(transport::rt.control_fd, record, &own, fd < 0 ? 0 : 1);
  if (fd >= 0) raw::close(own);
}

void SentList::read_next() {
  if (taken_ == have_) {
    long n = fd_ < 0 ? 0 : raw::sys(SYS_pread64, fd_, batch_, sizeof batch_, at_);
    have_ = n > 0 ? static_cast<int>(n / static_cast<long>(sizeof batch_[0])) : 0;
    taken_ = 0;
    at_ += have_ * sizeof batch_[0];
  }
  more_ = taken_ < have_;
  if (more_) now_ = batch_[taken_++];
}

}  // namespace msocket::checkpoint
