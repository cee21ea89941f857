// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The other threads of the process, while this one changes what lies under a number. A thread that has looked and is about
// to make its call, or waits in the kernel on the old socket, must not go on with what it saw: so all others are brought into
// the signal handler, which sets them back to the look (stub.h), and held there until the change is made.
// Lock held; async-signal-safe. With one thread all of this is nothing.
#pragma once
#include <cstdint>

namespace msocket::transport {

/// Brings every other thread into the handler and holds it there. Does nothing when they are held already. Threads that
/// block the control signal are left alone: they must not be inside calls of the library.
void stop_world();
/// Lets them go.
void resume_world();
/// In the handler: true when this thread was called here only to be held; it has been.
bool held_in_handler();
/// Something has changed: waiting calls of every thread look again (rt.epoch).
void announce_change();

}  // namespace msocket::transport
