// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include "src/checkpoint/resources.h"
#include "src/wire/image.h"

namespace msocket::checkpoint {

/// Fills header.vdso_*, header.regions and the table from /proc/self/maps. False: `why` names the mappings that cannot move.
bool list_regions(wire::ImageHeader* header, wire::ImageRegion* regions, char* text, unsigned long text_size, Refusal* why);
/// What was written through shared mappings of files is on its way to those who see the files from other nodes when this returns.
void write_back(const wire::ImageHeader& header, const wire::ImageRegion* regions);
/// Writes header, regions, every page that holds something, and the end mark. 0 or -errno. `*bytes`: how much.
long write_image(int fd, const wire::ImageHeader& header, const wire::ImageRegion* regions, unsigned long* bytes);

}  // namespace msocket::checkpoint
