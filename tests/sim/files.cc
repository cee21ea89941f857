// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "tests/sim/files.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/sim/kernel.h"

namespace msocket::sim {

namespace {
int next_file = 1;
}

std::map<int, File*> File::all;

File::File() : id(next_file++) { all[id] = this; }
File::~File() { all.erase(id); }

void File::arrived() {
  ++news;
  if (!async) return;
  Proc* proc = find_proc(owner);
  if (!proc) return;
  if (sim.planted("lost-signal") && id % 3 == 0) return;
  ++proc->pending;
}

bool Pipe::due() const {
  if (dead) return false;
  if (reset) return true;
  if (!sent.empty()) return to.expired() || got.size() < receive_room;
  return fin && !fin_arrived;
}

bool Pipe::over() const { return !due() && (dead || fin_arrived || (from.expired() && to.expired())); }

void Pipe::happen() {
  StreamPtr receiver = to.lock();
  not_before = sim.now + sim.delay();
  if (reset) {
    kill();
    if (receiver) receiver->on_reset();
    return;
  }
  if (sent.empty()) {
    fin_arrived = true;
    if (receiver) receiver->arrived();
    return;
  }
  if (!receiver) {  // nobody is there any more who could read it
    sim.trace("%zu bytes come to a socket that is closed", sent.size());
    StreamPtr sender = from.lock();
    kill();
    if (sender) {
      if (sender->in) sender->in->kill();  // what the other end has not got through by now is lost
      sender->on_reset();
    }
    return;
  }
  size_t most = std::min(sent.size(), receive_room - got.size());
  size_t n = local || sim.random.percent(50) ? most : sim.random.between(1, most);
  size_t skip = sim.planted("dropped-byte") && !local && sim.random.one_in(200) ? 1 : 0;
  got.append(sent, skip, n - skip);
  StreamPtr sender = from.lock();
  bool was_full = sender && !(sender->events() & POLLOUT);
  sent.erase(0, n);
  if (was_full && (sender->events() & POLLOUT)) ++sender->news;
  receiver->arrived();
}

Stream::~Stream() {
  if (!connected() || was_reset) return;
  auto how = options.find({SOL_SOCKET, SO_LINGER});
  linger value{};
  if (how != options.end() && how->second.size() == sizeof value) memcpy(&value, how->second.data(), sizeof value);
  if (!local && (!in->got.empty() || (value.l_onoff && !value.l_linger))) {
    sim.trace("socket %d is reset by its end, %zu bytes unread", id, in->got.size());
    out->kill();
    out->dead = false;
    out->reset = true;
  } else {
    out->fin = true;
    if (local) out->fin_arrived = true;
  }
  out->not_before = sim.now + sim.delay();
  if (StreamPtr other = out->to.lock(); other && local) other->arrived();
}

short Stream::events() const {
  if (!connected()) return POLLOUT | POLLHUP;
  short result = 0;
  if (in->got.size() >= low_water || in->fin_arrived || shut_read || was_reset) result |= POLLIN | POLLRDNORM;
  if (in->fin_arrived || shut_read || was_reset) result |= POLLRDHUP;
  size_t room = out->send_room - std::min(out->send_room, out->sent.size());
  if (room * 3 >= out->send_room || was_reset || shut_write) result |= POLLOUT | POLLWRNORM;
  if ((in->fin_arrived && shut_write) || was_reset || (local && out->to.expired())) result |= POLLHUP;
  if (error) result |= POLLERR;
  return result;
}

long Stream::read(char* data, size_t length, bool peek) {
  if (!connected()) return -ENOTCONN;
  if (length == 0) return 0;
  if (!in->got.empty()) {
    size_t n = std::min(length, in->got.size());
    // As if the rest came a moment later; but what a peek has shown is there.
    if (sim.random.percent(20) && n > peeked && !(peek && in->fin_arrived)) n = sim.random.between(std::max<size_t>(1, peeked), n);
    memcpy(data, in->got.data(), n);
    if (peek) peeked = std::max(peeked, n);
    else in->got.erase(0, n), peeked -= std::min(peeked, n);
    return static_cast<long>(n);
  }
  if (in->fin_arrived) return 0;
  if (error) return -take_error();
  if (shut_read || was_reset) return 0;
  return -EAGAIN;
}

int Stream::take_error() {
  if (error) sim.trace("is told error %d of socket %d by system call %ld", error, id, sim.current->call);
  return std::exchange(error, 0);
}

long Stream::write(const char* data, size_t length) {
  if (error) return -take_error();
  if (!connected() || shut_write || was_reset) return -EPIPE;
  if (local && out->to.expired()) return -EPIPE;
  size_t room = out->send_room - std::min(out->send_room, out->sent.size());
  size_t n = std::min(room, length);
  if (n == 0) return length ? -EAGAIN : 0;
  if (out->sent.empty()) out->not_before = sim.now + sim.delay();
  out->sent.append(data, n);
  return static_cast<long>(n);
}

void Stream::shutdown(int how) {
  if (!connected()) return;
  ++news;
  if (how != SHUT_WR) shut_read = true;
  if (how != SHUT_RD && !shut_write) {
    shut_write = true;
    out->fin = !out->dead;
    if (out->sent.empty()) out->not_before = sim.now + sim.delay();
  }
}

void Stream::set_send_room(size_t bytes) {
  send_room = bytes;
  if (out && !local) out->send_room = bytes;
}

void Stream::on_reset() {
  if (was_reset) return;
  was_reset = true;
  sim.trace("socket %d is reset", id);
  error = in->fin_arrived ? EPIPE : ECONNRESET;
  out->kill();
  arrived();
}

Packets::~Packets() {
  if (PacketsPtr other = peer.lock()) other->arrived();
}

short Packets::events() const {
  PacketsPtr other = peer.lock();
  short result = 0;
  if (!queue.empty() || !other) result |= POLLIN | POLLRDNORM;
  if (!other || !other->full()) result |= POLLOUT | POLLWRNORM;
  if (!other) result |= POLLHUP;
  return result;
}

long Packets::send(Record record) {
  PacketsPtr other = peer.lock();
  if (!other) return -EPIPE;
  if (other->full()) return -EAGAIN;
  other->queue.push_back(std::move(record));
  other->arrived();
  return 0;
}

long Packets::receive(Record* record) {
  if (queue.empty()) return peer.expired() ? -EPIPE : -EAGAIN;
  *record = std::move(queue.front());
  queue.pop_front();
  return 0;
}

namespace {
std::pair<StreamPtr, StreamPtr> make_pair_of(bool local) {
  auto a = std::make_shared<Stream>(), b = std::make_shared<Stream>();
  a->local = b->local = local;
  auto connect = [&](const StreamPtr& from, const StreamPtr& to) {
    auto pipe = std::make_shared<Pipe>();
    pipe->from = from;
    pipe->to = to;
    pipe->local = local;
    pipe->send_room = kSendRoom;
    pipe->receive_room = kReceiveRoom;
    from->out = to->in = pipe;
    sim.add(pipe);
  };
  connect(a, b);
  connect(b, a);
  return {a, b};
}
}  // namespace

void reset_when_closed(Stream& stream) {
  linger at_once{1, 0};
  stream.options[{SOL_SOCKET, SO_LINGER}].assign(reinterpret_cast<char*>(&at_once), sizeof at_once);
}

std::pair<StreamPtr, StreamPtr> make_tcp() { return make_pair_of(false); }
std::pair<StreamPtr, StreamPtr> make_local() { return make_pair_of(true); }

std::pair<PacketsPtr, PacketsPtr> make_packets() {
  auto a = std::make_shared<Packets>(), b = std::make_shared<Packets>();
  a->peer = b;
  b->peer = a;
  return {a, b};
}

}  // namespace msocket::sim
