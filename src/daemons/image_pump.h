// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Images between processes and files, each in a thread of its own: a disk may be slow, and the daemon's loop must not be.
#pragma once
#include <memory>
#include <string>

#include "src/util/scoped_fd.h"
#include "src/wire/async.h"
#include "src/wire/image_file.h"

namespace msocket::daemons {

/// Writes what a frozen process says into the file; throws why it could not. Returns the image's size.
awaitable<uint64_t> write_image_file(asio::any_io_executor executor, std::shared_ptr<wire::ImageFileWriter> file,
                                     proto::ImageHead head, ScopedFd from_process);
/// Reads all of the file; throws where it is damaged.
awaitable<proto::ImageHead> verify_image(asio::any_io_executor executor, std::string path);
/// Gives the image in the file to the process that is to be filled. What goes wrong is the end of the stream for it.
void feed_image(std::string path, std::string id, ScopedFd to_process);

}  // namespace msocket::daemons
