// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/tracking.h"

#include <errno.h>
#include <fcntl.h>

#include "src/transport/channel.h"
#include "src/transport/raw.h"
#include "src/transport/runtime.h"

namespace msocket::checkpoint {

void offer_tracking() {
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
