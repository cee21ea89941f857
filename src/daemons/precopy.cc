// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/precopy.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <stdexcept>

#include "src/daemons/in_thread.h"
#include "src/daemons/page_copier.h"

namespace msocket::daemons {

namespace {
constexpr Millis kTrackLimit(2000);
constexpr Millis kTellEvery(200);
}  // namespace

bool precopy_wanted() {
  const char* text = getenv("MSOCKET_PRECOPY");
  return !text || strcmp(text, "no") != 0;
}

void Precopy::end() {
  ended_ = true;
  if (asked_) asked_->changed.notify();
  if (copier_) in_thread([copier = std::move(copier_)]() mutable { copier.reset(); });
}

int Precopy::list() const { return copier_ && copier_->begun() ? copier_->list().get() : -1; }

void Precopy::report(proto::MoveReport* report) const {
  report->set_no_precopy(why_not_);
  if (!copier_) return;
  report->set_rounds(copier_->rounds());
  report->set_precopied(copier_->bytes());
  report->set_precopy_ms(ms_);
}

awaitable<void> Precopy::track(Rank::Ptr rank) {
  why_not_.clear();
  too_early_ = rank->settling;
  if (!precopy_wanted()) why_not_ = "switched off (MSOCKET_PRECOPY)";
  // What its peers still send on the old ways it takes into its memory: that grows for as long as it runs.
  else if (too_early_) why_not_ = "connections are still on their way from its last move";
  if (!why_not_.empty()) co_return;
  asked_ = rank;
  rank->tracked.reset();
  rank->tracking = true;
  wire::ControlRecord record;
  record.type = wire::Control::kTrack;
  rank->channel->send(record);
  co_await wait_until(rank->changed, kTrackLimit, [&] { return rank->tracked || rank->exited || ended_; });
  rank->tracking = false;
  asked_.reset();
  auto tracked = std::move(rank->tracked);
  if (!tracked) why_not_ = "its process does not answer";
  else if (tracked->error) why_not_ = std::string("no userfaultfd: ") + strerror(tracked->error);
  if (!why_not_.empty() || ended_) co_return;
  auto copier = std::make_shared<PageCopier>(TrackedMemory(rank->pid, std::move(tracked->fd)), std::make_shared<CopyProgress>());
  std::function<void()> work = [copier] { copier->track(); };
  try {
    co_await run_in_thread(co_await asio::this_coro::executor, std::move(work));
    if (!ended_) copier_ = std::move(copier);
  } catch (const std::exception& error) {
    why_not_ = error.what();
  }
}

awaitable<void> Precopy::run(Rank::Ptr rank, Link::Ptr to, int image, uint64_t limit, Tell tell) {
  auto started = Clock::now();
  if (too_early_) co_await track(rank);
  if (rank->exited) throw std::runtime_error("it has ended");
  if (!copier_) co_return;
  auto copier = copier_;
  auto progress = copier->progress();
  auto stream = std::make_shared<ScopedFd>(fcntl(image, F_DUPFD_CLOEXEC, 0));
  struct State {
    explicit State(asio::any_io_executor e) : changed(e) {}
    Event changed;
    bool done = false;
    std::string broken;
  };
  asio::any_io_executor executor = to->executor();
  auto state = std::make_shared<State>(executor);
  in_thread([=] {
    std::string broken;
    try {
      copier->run(std::move(*stream), limit);
    } catch (const std::exception& error) {
      broken = error.what();
    }
    asio::post(executor, [=] {
      state->broken = broken;
      state->done = true;
      state->changed.notify();
    });
  });
  while (!state->done) {
    co_await wait_until(state->changed, kTellEvery, [&] { return state->done; });
    if (!state->done && (rank->exited || !to->open()) && !progress->stop.exchange(true)) shutdown(image, SHUT_RDWR);
    if (!tell) continue;
    proto::MoveProgress now;
    now.set_job(rank->spec.job());
    now.set_rank(rank->spec.rank());
    now.set_round(progress->round);
    now.set_sent(progress->sent);
    now.set_rest(progress->rest);
    now.set_seconds(ms_since(started) / 1000);
    tell(now);
  }
  ms_ = ms_since(started);
  why_not_ = copier->why_not();
  if (rank->exited) throw std::runtime_error("it has ended");
  if (!to->open()) throw std::runtime_error(to->name() + ": its daemon does not answer any more");
  if (!state->broken.empty()) throw std::runtime_error("the new process: " + state->broken);
}

}  // namespace msocket::daemons
