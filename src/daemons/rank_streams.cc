// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "src/daemons/rank_streams.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

#include "src/wire/control.h"

namespace msocket::daemons {

namespace {


std::pair<ScopedFd, ScopedFd> make_pipe() {
  int pair[2];
  if (pipe2(pair, O_CLOEXEC) != 0) throw std::runtime_error("no descriptors left for a rank's streams");
  return {ScopedFd(pair[0]), ScopedFd(pair[1])};
}

// What is in a pipe, without taking it out.
std::string peek_pipe(int fd) {
  int have = 0;
  if (ioctl(fd, FIONREAD, &have) != 0 || have <= 0) return {};
  auto [read_end, write_end] = make_pipe();
  fcntl(write_end.get(), F_SETPIPE_SZ, have + 65536);
  ssize_t n = tee(fd, write_end.get(), have, SPLICE_F_NONBLOCK);
  std::string data(n > 0 ? n : 0, '\0');
  size_t at = 0;
  while (at < data.size()) {
    ssize_t k = read(read_end.get(), data.data() + at, data.size() - at);
    if (k <= 0) break;
    at += k;
  }
  data.resize(at);
  return data;
}

std::string peek_socket(int fd) {
  int have = 0;
  if (ioctl(fd, FIONREAD, &have) != 0 || have <= 0) return {};
  std::string data(have, '\0');
  ssize_t n = recv(fd, data.data(), data.size(), MSG_PEEK | MSG_DONTWAIT);
  data.resize(n > 0 ? n : 0);
  return data;
}

}  // namespace

RankStreams::RankStreams(asio::any_io_executor executor, bool pmi)
    : executor_(executor), pmi_(pmi), in_(executor), out_(executor), err_(executor), pmi_end_(executor), changed_(executor) {
  auto [in_read, in_write] = make_pipe();
  auto [out_read, out_write] = make_pipe();
  auto [err_read, err_write] = make_pipe();
  child_[0] = std::move(in_read);
  child_[1] = std::move(out_write);
  child_[2] = std::move(err_write);
  in_.assign(in_write.release());
  out_.assign(out_read.release());
  err_.assign(err_read.release());
  if (pmi_) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
      throw std::runtime_error("no descriptors left for a rank's streams");
    child_[3].reset(pair[1]);
    pmi_end_.assign(pair[0]);
  }
  for (auto* descriptor : {&in_, &out_, &err_, &pmi_end_})
    if (descriptor->is_open()) descriptor->native_non_blocking(true);
}

std::vector<std::pair<int, int>> RankStreams::child_fds() const {
  std::vector<std::pair<int, int>> fds;
  for (int i = 0; i < 3; ++i) fds.emplace_back(child_[i].get(), i);
  if (pmi_) fds.emplace_back(child_[3].get(), wire::kPmiFd);
  return fds;
}

void RankStreams::child_started() {
  child_[1].reset();
  child_[2].reset();
}

void RankStreams::start(Send send) {
  send_ = std::move(send);
  auto self = shared_from_this();
  for (int stream : {kOut, kErr, kPmiOut}) {
    if (stream == kPmiOut && !pmi_) continue;
    spawn(executor_, [self, stream]() -> awaitable<void> { co_await self->read_loop(stream); });
    flush(stream);
  }
  for (int stream : {kIn, kPmiIn}) {
    if (stream == kPmiIn && !pmi_) continue;
    spawn(executor_, [self, stream]() -> awaitable<void> { co_await self->write_loop(stream); });
  }
}

awaitable<void> RankStreams::read_loop(int stream) {
  auto& descriptor = stream == kOut ? out_ : stream == kErr ? err_ : pmi_end_;
  while (!closed_ && !outgoing_[stream].eof() && descriptor.is_open()) {
    co_await wait_until(changed_, kForever, [&] { return closed_ || (!paused_ && !outgoing_[stream].full()); });
    if (closed_ || !descriptor.is_open()) co_return;
    boost::system::error_code error;
    co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                   asio::redirect_error(use_awaitable, error));
    if (error || closed_) co_return;
    if (paused_) continue;
    read_available(stream);
    // What the rank had written before it said this on PMI goes first: an MPI_Abort ends everything.
    if (stream == kPmiOut)
      for (int before : {kOut, kErr}) {
        read_available(before);
        flush(before);
      }
    flush(stream);
  }
}

void RankStreams::read_available(int stream) {
  auto& descriptor = stream == kOut ? out_ : stream == kErr ? err_ : pmi_end_;
  auto& outgoing = outgoing_[stream];
  char buffer[32768];
  while (descriptor.is_open() && !outgoing.eof() && !outgoing.full()) {
    ssize_t n = ::read(descriptor.native_handle(), buffer, sizeof buffer);
    if (n > 0) outgoing.append({buffer, static_cast<size_t>(n)});
    else if (n < 0 && errno == EINTR) continue;
    else if (n < 0 && errno == EAGAIN) return;
    else outgoing.finish();
  }
}

// All that the rank has written, past the window too: a full pipe is 64 KiB at most.
void RankStreams::empty_pipe(int stream) {
  auto& descriptor = stream == kOut ? out_ : stream == kErr ? err_ : pmi_end_;
  char buffer[32768];
  ssize_t n;
  while (descriptor.is_open() && (n = ::read(descriptor.native_handle(), buffer, sizeof buffer)) > 0)
    outgoing_[stream].append({buffer, static_cast<size_t>(n)});
}

void RankStreams::flush(int stream) {
  if (!send_) return;
  while (auto chunk = outgoing_[stream].next()) {
    proto::Envelope envelope;
    auto* data = envelope.mutable_stream_data();
    data->set_stream(stream);
    data->set_offset(chunk->offset);
    data->set_data(std::move(chunk->data));
    data->set_eof(chunk->eof);
    send_(std::move(envelope));
  }
}

awaitable<void> RankStreams::write_loop(int stream) {
  auto& descriptor = stream == kIn ? in_ : pmi_end_;
  auto& incoming = incoming_[stream];
  auto& unwritten = unwritten_[stream];
  for (;;) {
    co_await wait_until(changed_, kForever,
                        [&] { return closed_ || (!paused_ && (!unwritten.empty() || incoming.ready() || incoming.ended())); });
    if (closed_ || !descriptor.is_open()) co_return;
    if (unwritten.empty()) unwritten = incoming.take();
    while (!unwritten.empty() && !paused_) {
      ssize_t n = ::write(descriptor.native_handle(), unwritten.data(), unwritten.size());
      if (n > 0) {
        unwritten.erase(0, n);
      } else if (errno == EAGAIN) {
        boost::system::error_code error;
        co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_write,
                                       asio::redirect_error(use_awaitable, error));
        if (error || closed_) co_return;
      } else {
        unwritten.clear();  // the rank does not read any more
      }
    }
    if (paused_) continue;
    if (incoming.ended() && !incoming.ready() && stream == kIn) {
      boost::system::error_code ignored;
      descriptor.close(ignored);
    }
    acknowledge(stream);
    if (incoming.ended() && !incoming.ready()) co_return;
  }
}

void RankStreams::acknowledge(int stream) {
  if (!send_) return;
  proto::Envelope envelope;
  envelope.mutable_stream_ack()->set_stream(stream);
  envelope.mutable_stream_ack()->set_offset(incoming_[stream].taken());
  send_(std::move(envelope));
}

void RankStreams::on_data(const proto::StreamData& data) {
  if (data.stream() != kIn && data.stream() != kPmiIn) return;
  incoming_[data.stream()].add(data.offset(), data.data(), data.eof());
  changed_.notify();
}

void RankStreams::on_ack(const proto::StreamAck& ack) {
  if (ack.stream() != kOut && ack.stream() != kErr && ack.stream() != kPmiOut) return;
  outgoing_[ack.stream()].ack(ack.offset());
  changed_.notify();
}

void RankStreams::home_changed() {
  for (int stream : {kOut, kErr, kPmiOut}) {
    outgoing_[stream].rewind();
    flush(stream);
  }
  // The home counts what it has sent by what was acknowledged; the old daemon's last word may have been lost.
  if (!paused_)
    for (int stream : {kIn, kPmiIn}) acknowledge(stream);
}

void RankStreams::resume() {
  paused_ = false;
  changed_.notify();
}

std::vector<proto::StreamState> RankStreams::snapshot() {
  paused_ = true;
  std::vector<proto::StreamState> states;
  for (int stream : {kOut, kErr, kPmiOut}) {
    if (stream == kPmiOut && !pmi_) continue;
    empty_pipe(stream);
    proto::StreamState state;
    state.set_stream(stream);
    state.set_offset(outgoing_[stream].acked());
    state.set_pending(outgoing_[stream].pending());
    state.set_eof(outgoing_[stream].eof());
    states.push_back(std::move(state));
    flush(stream);
  }
  for (int stream : {kIn, kPmiIn}) {
    if (stream == kPmiIn && !pmi_) continue;
    auto& incoming = incoming_[stream];
    unwritten_[stream] += incoming.take();
    std::string pending = stream == kIn ? peek_pipe(child_[0].get()) : peek_socket(child_[3].get());
    pending += unwritten_[stream];
    proto::StreamState state;
    state.set_stream(stream);
    state.set_offset(incoming.received() - (incoming.ended() ? 1 : 0) - pending.size());
    state.set_pending(std::move(pending));
    state.set_eof(incoming.ended());
    states.push_back(std::move(state));
  }
  return states;
}

void RankStreams::restore(const google::protobuf::RepeatedPtrField<proto::StreamState>& states) {
  for (const auto& state : states) {
    if (state.stream() >= kStreams) continue;
    if (state.stream() == kIn || state.stream() == kPmiIn)
      incoming_[state.stream()] = StreamIn::restore(state.offset(), state.pending(), state.eof());
    else
      outgoing_[state.stream()] = StreamOut::restore(state.offset(), state.pending(), state.eof());
  }
}

void RankStreams::finish() {
  if (finished_) return;
  finished_ = true;
  for (int stream : {kOut, kErr, kPmiOut}) {
    if (stream == kPmiOut && !pmi_) continue;
    empty_pipe(stream);
    outgoing_[stream].finish();
    flush(stream);
  }
}

bool RankStreams::drained() const {
  return outgoing_[kOut].finished() && outgoing_[kErr].finished() && (!pmi_ || outgoing_[kPmiOut].finished());
}

void RankStreams::close() {
  if (closed_) return;
  closed_ = true;
  boost::system::error_code ignored;
  for (auto* descriptor : {&in_, &out_, &err_, &pmi_end_}) descriptor->close(ignored);
  for (auto& fd : child_) fd.reset();
  send_ = nullptr;
  changed_.notify();
}

}  // namespace msocket::daemons
