// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include "src/daemons/look_report.h"
#include "src/daemons/rank.h"

namespace msocket::daemons {

/// Asks the rank's process, in its handler; it goes on at once. Nothing of it is touched.
awaitable<LookReport> look_at(asio::any_io_executor executor, Rank::Ptr rank, bool count);

}  // namespace msocket::daemons
