// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/tools/rank_io.h"

#include <fcntl.h>

namespace msocket {

namespace {
constexpr Millis kLastWords(1000);  // for a reader that stands still
constexpr uint32_t kStdin = 0, kStdout = 1, kStderr = 2, kPmiFromRank = 3, kPmiToRank = 4;

std::unique_ptr<FdEnd> make_end(asio::any_io_executor executor, int fd, FdEnd::Use use, bool shared) {
  return std::make_unique<FdEnd>(executor, fd, use, shared);
}

int duplicate(int fd) { return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3); }
}  // namespace

RankIo::RankIo(asio::any_io_executor executor, std::string job, uint32_t rank, RankFds fds)
    : executor_(executor), job_(std::move(job)), rank_(rank), has_pmi_(fds.pmi >= 0), progress_(executor) {
  // The PMI descriptor is one socket, read and written by two ends that each own a number of it.
  int pmi_out = duplicate(fds.pmi);
  inputs_[0] = {kStdin, make_end(executor, fds.in, FdEnd::Use::kRead, fds.shared_in), {}, {}};
  inputs_[1] = {kPmiToRank, make_end(executor, fds.pmi, FdEnd::Use::kRead, false), {}, {}};
  for (Input& input : inputs_) input.room = std::make_unique<Event>(executor);
  outputs_[0] = {kStdout, make_end(executor, fds.out, FdEnd::Use::kWrite, fds.shared_out), {}};
  outputs_[1] = {kStderr, make_end(executor, fds.err, FdEnd::Use::kWrite, fds.shared_out), {}};
  outputs_[2] = {kPmiFromRank, make_end(executor, pmi_out, FdEnd::Use::kWrite, false), {}};
}

void RankIo::start() {
  auto self = shared_from_this();
  for (Input& input : inputs_) {
    if (input.stream == kPmiToRank && !has_pmi_) continue;
    Input* which = &input;
    spawn(executor_, [self, which]() -> awaitable<void> { co_await self->read_loop(*which); });
  }
}

awaitable<void> RankIo::read_loop(Input& input) {
  while (!closed_) {
    co_await wait_until(*input.room, Millis(1000), [&] { return closed_ || !input.out.full(); });
    if (input.out.full()) continue;
    std::string data = co_await input.fd->read_some(kStreamChunk);
    if (closed_) break;
    if (data.empty()) {
      input.out.finish();
      send(input);
      break;
    }
    input.out.append(data);
    send(input);
  }
}

void RankIo::send(Input& input) {
  if (!link_ || !link_->open()) return;
  while (auto chunk = input.out.next()) {
    proto::Envelope notice;
    proto::StreamData& data = *notice.mutable_stream_data();
    data.set_job(job_);
    data.set_rank(rank_);
    data.set_stream(input.stream);
    data.set_offset(chunk->offset);
    data.set_data(std::move(chunk->data));
    data.set_eof(chunk->eof);
    link_->notify(std::move(notice));
  }
}

void RankIo::send_ack(const Output& output) {
  if (!link_ || !link_->open()) return;
  proto::Envelope notice;
  proto::StreamAck& ack = *notice.mutable_stream_ack();
  ack.set_job(job_);
  ack.set_rank(rank_);
  ack.set_stream(output.stream);
  ack.set_offset(output.written);
  link_->notify(std::move(notice));
}

void RankIo::attach(Link::Ptr link) {
  if (closed_) return;
  link_ = std::move(link);
  for (const Output& output : outputs_)
    if (output.stream != kPmiFromRank || has_pmi_) send_ack(output);
  for (Input& input : inputs_) {
    input.out.rewind();
    send(input);
  }
}

void RankIo::on_data(const proto::StreamData& data) {
  if (closed_) return;
  for (Output& output : outputs_) {
    if (output.stream != data.stream()) continue;
    last_arrival_ = Clock::now();
    uint64_t before = output.in.received();
    output.in.add(data.offset(), data.data(), data.eof());
    progress_.notify();
    if (output.in.received() == before) {
      send_ack(output);  // known already: the sender has not heard so
    } else if (!output.writing) {
      output.writing = true;
      auto self = shared_from_this();
      Output* which = &output;
      spawn(executor_, [self, which]() -> awaitable<void> { co_await self->write_loop(*which); });
    }
  }
}

awaitable<void> RankIo::write_loop(Output& output) {
  while (!closed_ && output.written != output.in.received()) {
    std::string data = output.in.take();
    uint64_t upto = output.in.taken();
    if (output.stream == kPmiFromRank && pmi_filter_) data = pmi_filter_(data);
    if (output.stream == kPmiFromRank && data.find("cmd=abort") != std::string::npos) co_await let_output_through();
    bool was_open = output.fd->open();
    bool taken = true;
    if (!data.empty()) taken = co_await output.fd->write_all(std::move(data));
    if (!taken && was_open && !closed_) {
      // Whoever read this is gone. As in a pipeline on one machine, the rank gets SIGPIPE; the rest is thrown away.
      output.fd->close();
      if (output.stream != kPmiFromRank && on_broken_pipe_) on_broken_pipe_();
    }
    output.written = upto;
    send_ack(output);
  }
  output.writing = false;
  progress_.notify();
}

void RankIo::on_ack(const Link::Ptr& from, const proto::StreamAck& ack) {
  if (from != link_) return;
  for (Input& input : inputs_) {
    if (input.stream != ack.stream()) continue;
    input.out.ack(ack.offset());
    input.room->notify();
  }
}

bool RankIo::quiet() const {
  for (const Output& output : outputs_)
    if (output.writing) return false;
  return true;
}

// A pipe tells nobody that it has become empty.
awaitable<void> RankIo::let_output_through() {
  auto through = [this] {
    for (const Output& output : outputs_)
      if (output.stream != kPmiFromRank && (output.writing || output.fd->unread())) return false;
    return true;
  };
  for (auto end = Clock::now() + kLastWords; !closed_ && !through() && Clock::now() < end;) co_await sleep_for(Millis(1));
}

awaitable<void> RankIo::finish(Millis limit) {
  last_arrival_ = Clock::now();
  while (!closed_) {
    if (quiet()) {
      if (outputs_[0].in.ended() && outputs_[1].in.ended()) co_return;
      if (Clock::now() - last_arrival_ >= limit) co_return;
    } else {
      last_arrival_ = Clock::now();
    }
    co_await progress_.wait(Clock::now() + Millis(200));
  }
}

void RankIo::close() {
  closed_ = true;
  link_.reset();
  for (Input& input : inputs_) {
    input.fd->close();
    input.room->notify();
  }
  for (Output& output : outputs_) output.fd->close();
  progress_.notify();
}

}  // namespace msocket
