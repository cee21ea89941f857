// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A thread that blocks the control signal. Nobody but a tracer can change another thread's mask, so a short-lived process that
// shares our memory is its tracer for a moment. Async-signal-safe.
#pragma once

namespace msocket::checkpoint {

/// Takes the control signal out of the thread's mask; the handler puts it back into what it returns to
/// (transport/world.h, must_block_again). False: not allowed here, or the thread does not stop.
bool unblock_control_signal(int thread);

}  // namespace msocket::checkpoint
