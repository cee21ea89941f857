// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The freeze (design: doc/migration.md). In the old process: everything is looked at, the sockets go to the mirror's
// mailbox, the image to the stream; then the daemon's verdict. In the new one: the second return of the same call.
#pragma once

namespace msocket::checkpoint {

/// transport::freeze_hook. Lock held. Owns both descriptors, and rt.freeze_sent_fd.
void freeze(int image_fd, int mailbox_fd);

}  // namespace msocket::checkpoint
