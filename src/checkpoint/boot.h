// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The bootstrap area: memory at one fixed address in every process of ours, which no image contains. While a process is
// being refilled it is all that the restorer stands on: stack, tables, and what the daemon said at the start.
#pragma once
#include <cstdint>

#include "src/wire/control.h"
#include "src/wire/image.h"

namespace msocket::checkpoint {

/// Far from where Linux puts programs, libraries and stacks on x86-64.
inline constexpr uintptr_t kBootAddress = 0x200000000000;

struct Boot {
  wire::ControlRecord start;  ///< the daemon's kStart record for this process
  int image_fd, mirror_fd, control_fd;
  unsigned char cpus[128];    ///< the process's affinity as the daemon gave it
  uint64_t bytes;             ///< of the image, counted while it came in
  bool check_image;           ///< MSOCKET_CHECK_IMAGE: the image carries sums of its regions, to be compared
  uint64_t stack_low;         ///< begin of the stack's mapping, while it is being filled
  wire::ImageStart image;
  wire::ImageRegion piece;    ///< of a region, before the state has come
  wire::ImageHeader header;
  wire::ImageRegion regions[wire::kImageMaxRegions];
  char maps_text[512 * 1024];
  char path[4096];
  alignas(16) char stack[256 * 1024];
};
inline constexpr uintptr_t kBootSize = (sizeof(Boot) + 4095) & ~uintptr_t{4095};

inline Boot* boot() { return reinterpret_cast<Boot*>(kBootAddress); }

}  // namespace msocket::checkpoint
