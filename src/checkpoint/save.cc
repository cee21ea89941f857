// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/save.h"

#include <errno.h>
#include <string.h>

#include "src/checkpoint/arch.h"
#include "src/checkpoint/boot.h"
#include "src/checkpoint/image_writer.h"
#include "src/checkpoint/resources.h"
#include "src/checkpoint/threads.h"
#include "src/transport/channel.h"
#include "src/transport/drain.h"
#include "src/transport/raw.h"
#include "src/transport/redirect.h"
#include "src/transport/runtime.h"
#include "src/transport/watches.h"

namespace msocket::checkpoint {

namespace {

using transport::rt;
using transport::VSocket;

ThreadState freezer;  // of the thread that freezes; in memory that moves
Refusal why;          // too large for a signal's stack

constexpr int kPrctlArchGetFs = 0x1003, kPrctlArchGetGs = 0x1004;

void fill_header(wire::ImageHeader* header) {
  *header = {};
  header->brk_end = raw::sys(SYS_brk, 0);
  ThreadState* const* list = listed_threads(&header->threads);
  header->thread_list = reinterpret_cast<uint64_t>(list);
  const ThreadState& first = *list[0];
  header->context = reinterpret_cast<uint64_t>(&first.context);
  header->fs_base = first.fs_base;
  header->gs_base = first.gs_base;
  header->tid_field = first.tid_field;
  header->clear_tid = first.clear_tid;
  header->robust_head = first.robust_head;
  header->robust_len = first.robust_len;
  header->rseq_area = first.rseq_area;
  header->rseq_len = first.rseq_len;
  header->rseq_sig = kRseqSignature;
}

void say(wire::Control type, uint64_t number, const Refusal* why, uint64_t bytes = 0) {
  wire::ControlRecord record;
  record.type = type;
  record.arg0 = number;
  record.arg1 = bytes;
  record.local_gen = rt.generation;
  if (why && !why->empty()) {
    record.error = ECANCELED;
    why->first(record.text, sizeof record.text);
  }
  transport::send_control(rt.control_fd, record);
}

// Each connection is named; what it has of sockets goes along in the order in which they are to be read.
int hand_sockets_to_mirror(int mailbox_fd) {
  int count = 0;
  if (rt.mirror_fd >= 0) {
    wire::MailboxRecord record{.type = wire::Mailbox::kUpstream, .frame_have = rt.frame_have, .frame_left = rt.frame_left,
                               .frame = rt.frame};
    transport::send_record(mailbox_fd, &record, sizeof record, &rt.mirror_fd, 1);
  }
  transport::for_each_vsocket([&](VSocket* vs) {
    if (!transport::lives(vs)) return;
    wire::MailboxRecord record{.type = wire::Mailbox::kConn, .conn = transport::mirror_name(vs)};
    if (vs->from_mirror) record.flags = wire::kAfterUpstream;
    bool has_new = vs->state != transport::ConnState::kAwaiting;
    if (vs->old_fd >= 0) {
      wire::MailboxRecord old = record;
      old.flags |= wire::kShut;  // when the peer's new connection came
      transport::send_record(mailbox_fd, &old, sizeof old, &vs->old_fd, 1);
    }
    transport::send_record(mailbox_fd, &record, sizeof record, &vs->fd, has_new ? 1 : 0);
    ++count;
  });
  return count;
}

// If the mirror dies before it has begun, this process is the last to close them.
void close_by_reset() {
  transport::for_each_vsocket([](VSocket* vs) {
    if (!transport::lives(vs)) return;
    if (vs->old_fd >= 0) transport::reset_when_closed(vs->old_fd);
    if (vs->state != transport::ConnState::kAwaiting) transport::reset_when_closed(vs->fd);
  });
}

// The daemon's verdict; until it is there this process has everything and does nothing.
bool wait_committed() {
  for (;;) {
    wire::ControlRecord record;
    int fds[wire::kMaxControlFds], count;
    long r = transport::receive_record(rt.control_fd, &record, sizeof record, fds, &count, false);
    if (r != 0) raw::exit_group(255);  // no daemon: it will never tell, and guessing could run the program twice
    for (int i = 0; i < count; ++i) raw::close(fds[i]);
    if (record.type == wire::Control::kCommit) return true;
    if (record.type == wire::Control::kRollback) return false;
  }
}

// The second return, in the new process, with all of the old one's memory.
void arrive() {
  Boot* b = boot();
  rt.control_fd = b->control_fd;
  b->mirror_fd = transport::move_high(b->mirror_fd);  // rt.high_from is the old process's: above the program's numbers
  why.text[0] = 0;
  bool good = restore_resources(&why);
  int connections = 0;
  if (good) {
    transport::install_handler();
    connections = transport::restore_sockets(b->start, b->mirror_fd);
    transport::arm(rt.control_fd);
    good = transport::restore_epolls();
    if (!good) why.add("an epoll set cannot be made again");
    good = good && finish_resources(&why);
  }
  wait_for_clocks();
  say(wire::Control::kRestored, connections, &why, b->bytes);
  if (!good) raw::exit_group(1);
  wire::ControlRecord record;
  do {
    int fds[wire::kMaxControlFds], count;
    if (transport::receive_record(rt.control_fd, &record, sizeof record, fds, &count, false) != 0) raw::exit_group(1);
    for (int i = 0; i < count; ++i) raw::close(fds[i]);
    if (record.type == wire::Control::kHeld) transport::adopt_held(record);
  } while (record.type != wire::Control::kResume);
}

constexpr int kSigSetMask = 2;

}  // namespace

void freeze(int image_fd, int mailbox_fd) {
  uint64_t all = ~0ull;
  uint64_t mask;
  raw::sys(SYS_rt_sigprocmask, kSigSetMask, &all, &mask, 8);
  Boot* b = boot();
  why.text[0] = 0;
  int sent_fd = rt.freeze_sent_fd;
  rt.freeze_sent_fd = -1;
  int own[] = {image_fd, mailbox_fd, sent_fd, rt.control_fd, rt.mirror_fd};
  transport::prepare_freeze();
  note_thread(&freezer);
  bool listed = list_threads(&freezer, &why);
  note_clocks();
  if (listed) fill_header(&b->header);
  why.end();
  if (!transport::save_epolls()) why.add("its epoll sets hold more than can be noted");
  look_at_resources(own, 5, &why);
  bool good = why.empty() && take_resources(&why) &&
              list_regions(&b->header, b->regions, b->maps_text, sizeof b->maps_text, &why);
  if (good && !b->header.tid_field) {
    why.add("this C library keeps its thread id where msocket does not find it");
    good = false;
  }
  int connections = good ? hand_sockets_to_mirror(mailbox_fd) : 0;
  transport::close_own(mailbox_fd);
  say(wire::Control::kFrozen, connections, &why);
  if (!good) {
    transport::close_own(image_fd);
    transport::close_own(sent_fd);
    give_back_resources();
    transport::undo_freeze();
  } else if (msocket_context_save(&freezer.context) == 0) {
    write_back(b->header, b->regions);
    if (sent_fd >= 0) mark_fresh(b->header, b->regions);
    // A broken stream shows at the other end: the verdict will say.
    write_image(image_fd, b->header, b->regions, sent_fd, b->check_image);
    transport::close_own(image_fd);
    transport::close_own(sent_fd);
    if (wait_committed()) {
      close_by_reset();
      raw::exit_group(0);
    }
    give_back_resources();
    transport::undo_freeze();
  } else {
    take_up_thread(freezer);
    arrive();
  }
  raw::sys(SYS_rt_sigprocmask, kSigSetMask, &mask, nullptr, 8);
}

}  // namespace msocket::checkpoint
