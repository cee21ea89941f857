// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What ms-exec (the stub under Hydra's proxy) and mpiexec say to each other over a Unix socket, whose path is in
// MSOCKET_HOME. One connection is one rank; when it closes, the rank is killed. All integers as the machine has them.
//
//   stub:    uint32 length, with SCM_RIGHTS {0, 1, 2[, PMI_FD]}; then that many bytes of a proto::StartRank
//            (argv, env, cwd, umask, pmi, node: where the rank is to start)
//   stub:    int32 signal number, as often as one comes
//   mpiexec: StubAnswer and its text, once; the stub ends then
#pragma once
#include <cstdint>

namespace msocket {

inline constexpr const char* kHomeVariable = "MSOCKET_HOME";
inline constexpr const char* kHostVariable = "MPIR_CVAR_CH3_INTERFACE_HOSTNAME";  // Hydra: this rank's host
inline constexpr uint32_t kMaxStart = 16 * 1024 * 1024;                          // above the kernel's limit for exec

struct StubAnswer {
  int32_t wait_status = 0;   ///< of the rank; the stub ends in the same way
  uint32_t text_length = 0;  ///< a line for the user, which follows
};

}  // namespace msocket
