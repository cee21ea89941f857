// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The library's one instance in a process: its channel to the daemon, its lock, and what the control signal does.
//
// Lock: one word. A library call takes it for as long as it looks at or changes the tables, never across a system call
// that may wait. The signal handler takes it if it is free; otherwise it leaves a mark and the holder does the handler's
// work when it lets go. `epoch` counts changes: a call that waits looks at it before and sleeps only while it stays (a futex, or
// ms_stub_equal around a call that waits for descriptors too). Other threads: world.h.
#pragma once
#include <cstdint>

#include "src/util/ids.h"
#include "src/wire/control.h"
#include "src/wire/mirror_frame.h"

namespace msocket::transport {

struct Runtime {
  bool active = false;    ///< there is a daemon
  int control_fd = -1;
  int pid = 0;            ///< whose tables these are: in a child of vfork() they are its parent's
  int high_from = 600;    ///< the library's own descriptors lie from here on
  uint64_t forks = 0;     ///< how often it has forked; an installation by a daemon that has not heard of the last waits
  bool child = false;     ///< of a process under msocket: it shares that one's address and cannot move
  uint32_t vip = 0;       ///< host byte order
  Generation generation = 0;
  uint16_t next_port = 0;
  uint32_t network = 0xf0000000, netmask = 0xff000000;  ///< 240.0.0.0/8
  char node[64] = {};

  volatile uint32_t lock = 0;
  volatile uint8_t pending = 0;  ///< the handler came while the lock was held
  uint32_t epoch = 0;            ///< counts changes; a futex
  bool changed = false;          ///< since the lock was taken: announce it when it is let go
  uint32_t signals = 0;          ///< how often the handler has run: an EINTR that came with it is not the program's

  // The stream from this process's own mirror, after a move (drain.cc).
  int mirror_fd = -1;
  bool starved = false;      ///< no memory was to be had for what had come: the kernel and the mirror keep it (patience())
  bool settling = false;     ///< after a move: the daemon has not yet been told that all is in place
  wire::MirrorFrame frame{};
  uint32_t frame_have = 0;   ///< bytes of `frame` read so far
  uint32_t frame_left = 0;   ///< bytes of its data still to come

  // A freeze that waits until every connection stands still (control.cc).
  bool freeze_wanted = false;
  int freeze_image_fd = -1, freeze_mailbox_fd = -1;
  int freeze_sent_fd = -1;   ///< which pages are in the image already; -1: it has not begun
};

extern Runtime rt;

/// Saves this process; called with the lock held and every connection settled. Returns in the old process when the move
/// was called off, and in the new one when it has taken its place. Registered by src/checkpoint.
extern void (*freeze_hook)(int image_fd, int mailbox_fd);

/// Lets the daemon see which pages this process writes. Registered by src/checkpoint.
extern void (*track_hook)();
/// A dry look at this process: lock held, owns neither descriptor (src/checkpoint/look.h). Registered by src/checkpoint.
extern void (*look_hook)(int report_fd, int marks_fd, uint32_t flags);

void lock();
void unlock();
bool try_lock();

/// All signals but the control signal: that is on its way whatever the program does, and its handler knows about the lock.
inline constexpr uint64_t kOtherSignals = ~(uint64_t{1} << (wire::kControlSignal - 1));

/// The program's signals wait until the lock is free: a handler may call read or write, or leave by siglongjmp.
class SignalsWait {
 public:
  SignalsWait();
  ~SignalsWait();

 private:
  uint64_t before_;
};

class Section {
 public:
  Section() { lock(); }
  ~Section() {
    if (rt.freeze_wanted) rt.pending = 1;  // what this call did may have been what the freeze waits for
    unlock();
  }
  /// What to wait for a change of: taken while the lock was held.
  uint32_t epoch() const { return rt.epoch; }
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

 private:
  SignalsWait signals_;  // around the lock
};

/// How long a call sleeps that is to wait `timeout_ms`, -1: for ever. Nothing tells a process that there is memory again, so while it
/// is starved of that it wakes now and then and tries.
int patience(int timeout_ms);
/// Waits, without the lock, until something has changed since rt.epoch was `epoch`, `timeout_ms` is over (-1: never), or a
/// signal of the program's own came. Returns 0: look again; -EINTR: the program's signal; -ETIME: timed out.
long wait_for_change(uint32_t epoch, int timeout_ms);

/// Between two programs of one process (exec): what the signal announces is looked for when the next one is there.
void ignore_control_signal();
/// Installs the signal handler; called once at start-up and again in the new process.
void install_handler();
/// Makes the kernel raise the control signal when `fd` has something to say; non-blocking.
void arm(int fd);
/// The handler's work; lock held. Also called at every unlock that finds `pending`.
void handle_control();

/// Moves a descriptor out of the program's way (>= kHighFd, close-on-exec) and closes the old number. -errno on failure.
int move_high(int fd);
/// A copy in the same range. Both are marked kOwn; close_own() ends that.
int copy_high(int fd);
void close_own(int fd);
void mark_own(int fd);

}  // namespace msocket::transport
