// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The other threads of the process, while this one changes what lies under a number. A thread that has looked and is about
// to make its call, or waits in the kernel on the old socket, must not go on with what it saw: so all others are brought into
// the signal handler, which sets them back to the look (stub.h), and held there until the change is made.
// Lock held; async-signal-safe. With one thread all of this is nothing.
#pragma once
#include <ucontext.h>

#include <cstdint>

namespace msocket::transport {

inline constexpr int kMaxThreads = 1024;

/// Brings every other thread into the handler and holds it there. Does nothing when they are held already. Threads that
/// block the control signal are left alone: they must not be inside calls of the library. `surely`: looks for others even
/// when libc says that there are none.
void stop_world(bool surely = false);
/// Lets them go.
void resume_world();
/// Where the kernel's own code is in this process: AT_SYSINFO_EHDR of the auxiliary vector, or 0.
void find_kernel_code(uint64_t vdso);
/// In the handler, with what it returns to: true when this thread was called here only to be held; it has been.
bool held_in_handler(ucontext_t* context);
/// How a thread stands still in the handler: calls stand_still(stopping, what it has noted about itself) at the end.
/// src/checkpoint puts its own here.
extern void (*hold_hook)(uint32_t stopping);
void stand_still(uint32_t stopping, void* state);
/// With the world stopped: 0, or the id of a thread that lives and has not come after so long.
int absent_thread(int limit_ms);
/// Does it keep the control signal away from itself?
bool blocks_signal(int id);
/// It will come with a mask that is not its own: the handler returns to one that has the control signal in it again.
void must_block_again(int id);
/// What those who stand have noted.
void for_each_held(void (*f)(void* state));
/// /proc/self/task/ID/status, with a zero byte behind it. False: no such thread.
bool read_status(int id, char* text, unsigned long size);
/// Something has changed: waiting calls of every thread look again (rt.epoch).
void announce_change();

}  // namespace msocket::transport
