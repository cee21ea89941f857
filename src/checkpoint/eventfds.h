// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// eventfd counters. Async-signal-safe.
#pragma once

namespace msocket::checkpoint {

struct Refusal;

void begin_eventfds();
/// Notes the counter under `fd`; its value is read without changing it.
void save_eventfd(int fd, Refusal* why);
bool restore_eventfds(Refusal* why);

}  // namespace msocket::checkpoint
