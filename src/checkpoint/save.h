// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The freeze (design: doc/migration.md). In the old process: everything is looked at, the sockets go to the mirror's
// mailbox, the image to the stream; then the daemon's verdict. In the new one: the second return of the same call.
#pragma once

namespace msocket::checkpoint {

/// transport::freeze_hook. Lock held. Owns both descriptors, and rt.freeze_sent_fd.
void freeze(int image_fd, int mailbox_fd);

/// Where libc caches the thread id, the rseq area and so on; found and checked once at start-up.
struct ThreadFields {
  unsigned long tid_field = 0;  ///< 0: not where expected
  unsigned long rseq_area = 0;
  unsigned rseq_length = 0;
};
ThreadFields find_thread_fields();

}  // namespace msocket::checkpoint
