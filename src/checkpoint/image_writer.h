// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include "src/checkpoint/resources.h"
#include "src/wire/image.h"

namespace msocket::checkpoint {

/// Fills header.vdso_*, header.regions and the table from /proc/self/maps. False: `why` names the mapping that cannot move.
bool list_regions(wire::ImageHeader* header, wire::ImageRegion* regions, char* text, unsigned long text_size, Refusal* why);
/// Writes header, regions, every page that holds something, and the end mark. 0 or -errno. `*bytes`: how much.
long write_image(int fd, const wire::ImageHeader& header, const wire::ImageRegion* regions, unsigned long* bytes);

}  // namespace msocket::checkpoint
