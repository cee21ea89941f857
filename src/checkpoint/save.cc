// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/checkpoint/save.h"

#include <errno.h>
#include <string.h>

#include "src/checkpoint/arch.h"
#include "src/checkpoint/boot.h"
#include "src/checkpoint/image_writer.h"
#include "src/checkpoint/resources.h"
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

Context context;  // in memory that moves: the new process resumes from here
ThreadFields thread_fields;

constexpr int kPrctlArchGetFs = 0x1003, kPrctlArchGetGs = 0x1004;

void fill_header(wire::ImageHeader* header) {
  *header = {};
  header->brk_end = raw::sys(SYS_brk, 0);
  header->context = reinterpret_cast<uint64_t>(&context);
  raw::sys(SYS_arch_prctl, kPrctlArchGetFs, &header->fs_base);
  raw::sys(SYS_arch_prctl, kPrctlArchGetGs, &header->gs_base);
  header->tid_field = header->clear_tid = thread_fields.tid_field;
  raw::sys(SYS_get_robust_list, 0, &header->robust_head, &header->robust_len);
  header->rseq_area = thread_fields.rseq_area;
  header->rseq_len = thread_fields.rseq_length;
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
    memcpy(record.text, why->text, sizeof why->text < sizeof record.text ? sizeof why->text : sizeof record.text - 1);
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
  Refusal why;
  bool good = restore_resources(&why);
  int connections = 0;
  if (good) {
    transport::install_handler();
    connections = transport::restore_sockets(b->start, b->mirror_fd);
    transport::arm(rt.control_fd);
    good = transport::restore_epolls();
    if (!good) why.add("an epoll set cannot be made again");
  }
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
  raw::sys(SYS_rt_sigprocmask, kSigSetMask, &all, &context.signal_mask, 8);
  Boot* b = boot();
  Refusal why;
  int sent_fd = rt.freeze_sent_fd;
  rt.freeze_sent_fd = -1;
  int own[] = {image_fd, mailbox_fd, sent_fd, rt.control_fd, rt.mirror_fd};
  transport::prepare_freeze();
  fill_header(&b->header);
  if (!transport::save_epolls()) why.add("its epoll sets hold more than can be noted");
  bool good = why.empty() && save_resources(own, 5, &why) &&
              list_regions(&b->header, b->regions, b->maps_text, sizeof b->maps_text, &why);
  if (good && !thread_fields.tid_field) {
    why.add("this C library keeps its thread id where msocket does not find it");
    good = false;
  }
  int connections = good ? hand_sockets_to_mirror(mailbox_fd) : 0;
  transport::close_own(mailbox_fd);
  say(wire::Control::kFrozen, connections, &why);
  if (!good) {
    transport::close_own(image_fd);
    transport::close_own(sent_fd);
    forget_resources();
    transport::undo_freeze();
  } else if (msocket_context_save(&context) == 0) {
    if (sent_fd >= 0) mark_fresh(b->header, b->regions);
    // A broken stream shows at the other end: the verdict will say.
    write_image(image_fd, b->header, b->regions, sent_fd, sent_fd >= 0, b->check_image);
    transport::close_own(image_fd);
    transport::close_own(sent_fd);
    if (wait_committed()) raw::exit_group(0);
    forget_resources();
    transport::undo_freeze();
  } else {
    arrive();
  }
  raw::sys(SYS_rt_sigprocmask, kSigSetMask, &context.signal_mask, nullptr, 8);
}

extern "C" const ptrdiff_t __rseq_offset __attribute__((weak));
extern "C" const unsigned int __rseq_size __attribute__((weak));

ThreadFields find_thread_fields() {
  char* self;
  __asm__("mov %%fs:0x10, %0" : "=r"(self));
  ThreadFields fields;
  int tid = static_cast<int>(raw::gettid());
  // glibc 2.36 keeps it at 0x2d0 of struct pthread; other versions nearby. It must be the only such word there.
  constexpr int kFirst = 0x280, kLast = 0x400, kExpected = 0x2d0;
  int matches = 0, at = 0;
  for (int offset = kFirst; offset < kLast; offset += 4) {
    if (*reinterpret_cast<int*>(self + offset) != tid) continue;
    ++matches;
    if (at != kExpected) at = offset;
  }
  if (at == kExpected || matches == 1) fields.tid_field = reinterpret_cast<unsigned long>(self + at);
  if (&__rseq_size && __rseq_size) {
    fields.rseq_area = reinterpret_cast<unsigned long>(self + __rseq_offset);
    fields.rseq_length = __rseq_size < 32 ? 32 : __rseq_size;
  }
  return thread_fields = fields;
}

}  // namespace msocket::checkpoint
