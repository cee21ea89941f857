// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What happens when the daemon has something to say: called from the control signal's handler, or from the library call
// that held the lock when it came. Lock held; async-signal-safe.
#include <errno.h>

#include "src/transport/channel.h"
#include "src/transport/drain.h"
#include "src/transport/raw.h"
#include "src/transport/redirect.h"
#include "src/transport/runtime.h"
#include "src/transport/udp.h"
#include "src/transport/world.h"

namespace msocket::transport {

namespace {

void dispatch(const wire::ControlRecord& record, int* fds, int count) {
  switch (record.type) {
    case wire::Control::kConnected: on_connected(record, count == 1 ? fds[0] : -1); return;
    case wire::Control::kHold: on_hold(record); return;
    case wire::Control::kInstall: on_install(record, count == 1 ? fds[0] : -1); return;
    case wire::Control::kFreeze:
      if (count == (record.flags & wire::kFlagBegun ? 3 : 2) && !rt.freeze_wanted) {
        rt.freeze_wanted = true;
        rt.freeze_sent_fd = count == 3 ? move_high(fds[2]) : -1;
        rt.freeze_image_fd = move_high(fds[0]);
        rt.freeze_mailbox_fd = move_high(fds[1]);
        return;
      }
      break;
    case wire::Control::kRollback:  // called off before we stood still
      if (rt.freeze_wanted) {
        rt.freeze_wanted = false;
        close_own(rt.freeze_image_fd);
        close_own(rt.freeze_mailbox_fd);
        close_own(rt.freeze_sent_fd);
        rt.freeze_sent_fd = -1;
      }
      break;
    case wire::Control::kTrack:
      if (track_hook) track_hook();
      break;
    case wire::Control::kLook:
      if (count >= 1 && look_hook) {
        look_hook(fds[0], count > 1 ? fds[1] : -1, record.flags);
        wire::ControlRecord done;
        done.type = wire::Control::kLooked;
        done.arg0 = record.arg0;
        send_control(rt.control_fd, done);
      }
      break;
    case wire::Control::kUdpPlace: on_place(record); break;
    default: break;
  }
  for (int i = 0; i < count; ++i) raw::close(fds[i]);
}

void read_control() {
  for (;;) {
    wire::ControlRecord record;
    int fds[wire::kMaxControlFds], count;
    long r = receive_record(rt.control_fd, &record, sizeof record, fds, &count, true);
    if (r == -EAGAIN) return;
    if (r == 0 && record.magic == wire::kControlMagic && record.version == wire::kControlVersion) {
      stop_world();
      rt.changed = true;
      dispatch(record, fds, count);
      continue;
    }
    // The daemon is gone, and with it our standard streams and the way to our peers: a rank ends with its node's daemon. A
    // child is left alone when its parent has ended: it keeps its connections for as long as nobody moves.
    if (!rt.child) raw::exit_group(255);
    rt.active = false;
    for (int fd = 0; fd < used_fds; ++fd) ms_kind[fd] = 0;
    any_slow = 0;
    close_own(rt.control_fd);
    return;
  }
}

}  // namespace

void handle_control() {
  read_control();
  drain_all();
  if (rt.freeze_wanted && may_freeze()) {
    int image_fd = rt.freeze_image_fd, mailbox_fd = rt.freeze_mailbox_fd;
    rt.freeze_wanted = false;
    freeze_hook(image_fd, mailbox_fd);
  }
  if (rt.settling && settled()) {
    rt.settling = false;
    wire::ControlRecord record;
    record.type = wire::Control::kSettled;
    send_control(rt.control_fd, record);
  }
  resume_world();
}

}  // namespace msocket::transport
