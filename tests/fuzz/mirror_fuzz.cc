// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// A mirror's mailbox and its stream, at both ends: what the mirror reads from the new process, and what the new process reads
// from its mirror. The production loops run on real sockets.
#include <fcntl.h>
#include <sys/socket.h>

#include "src/mirror/mirror.h"
#include "src/transport/drain.h"
#include "src/transport/runtime.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using namespace msocket::transport;
using fuzz::must;

namespace {
constexpr ConnId kIds[] = {{1, 10}, {2, 20}, {3, 30}};

struct Pair {
  ScopedFd near, far;
  explicit Pair(int type) {
    int pair[2];
    must(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0, "no descriptor is lost");
    near.reset(pair[0]);
    far.reset(pair[1]);
  }
};

void write_some(const ScopedFd& fd, const std::string& bytes) {
  if (!bytes.empty()) must(send(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0, "room to write");
}

void post(const ScopedFd& mailbox, const std::string& bytes, int fd, int copies) {
  alignas(cmsghdr) char space[CMSG_SPACE(4 * sizeof(int))] = {};
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (copies) {
    message.msg_control = space;
    message.msg_controllen = CMSG_SPACE(copies * sizeof(int));
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(copies * sizeof(int));
    for (int i = 0; i < copies; ++i) std::memcpy(CMSG_DATA(head) + i * sizeof(int), &fd, sizeof fd);
  }
  must(sendmsg(mailbox.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0, "room in the mailbox");
}

// The mirror, from its mailbox to its end.
void run_mirror(fuzz::Input& input) {
  Pair mailbox(SOCK_SEQPACKET), stream(SOCK_STREAM);
  for (int n = input.number<uint8_t>() % 4; n > 0; --n) {
    Pair old(SOCK_STREAM);
    int copies = input.number<uint8_t>() % 4;
    std::string record = input.bytes(input.number<uint8_t>() % (2 * sizeof(wire::MailboxRecord)));
    post(mailbox.near, record.empty() ? "?" : record, old.far.get(), copies);
    write_some(old.near, input.bytes(input.number<uint8_t>()));
  }
  wire::MailboxRecord go{.type = wire::Mailbox::kGo};  // unless what came before was no record, or had it
  post(mailbox.near, std::string(reinterpret_cast<const char*>(&go), sizeof go), stream.far.get(), 1);
  stream.far.reset();
  mailbox.near.reset();
  write_some(stream.near, input.rest());
  shutdown(stream.near.get(), SHUT_WR);  // so it comes to its end, whatever it has read
  mirror::Mirror mirror(std::move(mailbox.far));
  int status = mirror.run();
  must(status == 0 || status == 1, "the mirror ends");
}

// The new process's end: two connections that come through the mirror, and one that does not.
void run_drain(fuzz::Input& input) {
  Pair stream(SOCK_STREAM);
  for (const ConnId& id : kIds) {
    VSocket* vs = allocate_vsocket();
    vs->conn = id;
    set_state(vs, ConnState::kEstablished);
    if (id == kIds[2]) continue;
    set_state(vs, ConnState::kAwaiting);
    vs->from_mirror = true;
  }
  fcntl(stream.far.get(), F_SETFL, O_NONBLOCK);
  rt.mirror_fd = stream.far.release();
  rt.frame_have = rt.frame_left = 0;
  size_t said = 0;
  while (input.left() && rt.mirror_fd >= 0) {
    std::string part = input.bytes(1 + input.number<uint16_t>());
    said += part.size();
    write_some(stream.near, part);
    drain_mirror();
  }
  stream.near.reset();
  drain_mirror();
  must(rt.mirror_fd < 0, "the stream's end is seen");
  for_each_vsocket([&](VSocket* vs) {
    must(vs->in.size() <= said, "no byte out of nowhere");
    if (vs->conn == kIds[2]) must(vs->in.size() == 0 && !vs->reset, "the mirror speaks for its own connections alone");
    else must(vs->old_ended && !vs->from_mirror, "with the stream every connection's end has come");
    free_vsocket(vs);
  });
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  if (input.number<uint8_t>() % 2) run_mirror(input);
  else run_drain(input);
  return 0;
}
