// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include "src/checkpoint/resources.h"
#include "src/wire/image.h"

namespace msocket::checkpoint {

/// Fills header.vdso_*, header.regions and the table from /proc/self/maps. False: `why` names the mappings that cannot move.
bool list_regions(wire::ImageHeader* header, wire::ImageRegion* regions, char* text, unsigned long text_size, Refusal* why);
/// Of an image that has begun: marks the regions that were mapped since.
void mark_fresh(const wire::ImageHeader& header, wire::ImageRegion* regions);
/// Writes what a frozen process has to say: all of the image; or, when it has begun and `sent_fd` (else negative) lists what is in
/// it already, the state and the rest of the pages. `with_sums`: and what the reader can check it by. 0 or -errno.
long write_image(int fd, const wire::ImageHeader& header, const wire::ImageRegion* regions, int sent_fd, bool with_sums);
/// What was written through shared mappings of files is on its way to those who see the files from other nodes when this returns.
void write_back(const wire::ImageHeader& header, const wire::ImageRegion* regions);

}  // namespace msocket::checkpoint
