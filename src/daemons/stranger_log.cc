// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/stranger_log.h"

#include <spdlog/spdlog.h>

namespace msocket::daemons {

namespace {
constexpr std::chrono::seconds kQuiet(10);
}

std::string difference(const wire::StrangerCounts& now, const wire::StrangerCounts& before) {
  std::string text;
  for (int i = 0; i < wire::kReasons; ++i) {
    auto reason = static_cast<wire::Reason>(i);
    uint64_t more = now.of(reason) - before.of(reason);
    if (more) text += (text.empty() ? "" : ", ") + std::to_string(more) + " " + wire::name(reason);
  }
  return text;
}

void StrangerLog::add(wire::Reason reason, const std::string& from) {
  State& state = *state_;
  state.counts.add(reason);
  state.last_from = from;
  if (state.quiet) return;
  spdlog::warn("a stranger from {} is refused because it {} (see msctl strangers)", from, wire::meaning(reason));
  state.said = state.counts;
  wait(state_);
}

void StrangerLog::wait(std::shared_ptr<State> state) {
  state->quiet = true;
  state->timer.expires_after(kQuiet);
  state->timer.async_wait([state](boost::system::error_code error) {
    if (error) return;
    state->quiet = false;
    std::string more = difference(state->counts, state->said);
    if (more.empty()) return;
    spdlog::warn("more strangers: {}; the last from {}", more, state->last_from);
    state->said = state->counts;
    wait(state);
  });
}

}  // namespace msocket::daemons
