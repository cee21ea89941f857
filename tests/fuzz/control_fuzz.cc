// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What a process may put on its control channel: messages of any size, any descriptors with them. They pass a real socket,
// the daemon's reader and its check. The same reader gets a listener channel's AcceptRecords in the process.
#include <sys/socket.h>
#include <unistd.h>

#include "src/daemons/record_check.h"
#include "src/transport/channel.h"
#include "tests/fuzz/input.h"

using namespace msocket;
using fuzz::must;

namespace {
void send_message(int fd, const std::string& bytes, int descriptors) {
  alignas(cmsghdr) char space[CMSG_SPACE(8 * sizeof(int))] = {};
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptors) {
    message.msg_control = space;
    message.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
    for (int i = 0; i < descriptors; ++i) std::memcpy(CMSG_DATA(head) + i * sizeof(int), &fd, sizeof fd);
  }
  must(sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0, "a test's own message can be sent");
}

// As ProcessChannel and Node::on_record go about it.
void take_control(int fd, daemons::RecordBooks& books) {
  // Where the daemon has its array, with something behind that must not change.
  struct {
    int fds[wire::kMaxControlFds];
    int behind = 4711;
  } got;
  wire::ControlRecord record;
  int count = 0;
  long r = transport::receive_record(fd, &record, sizeof record, got.fds, &count, true);
  must(got.behind == 4711, "no more descriptors than there is room for");
  must(count >= 0 && count <= wire::kMaxControlFds, "descriptors are counted");
  for (int i = 0; i < count; ++i) close(got.fds[i]);
  if (r != 0 || !daemons::sane(record)) return;
  must(strnlen(record.text, sizeof record.text) < sizeof record.text, "a record's text ends");
  if (daemons::why_not_taken(record, count, books)) return;
  switch (record.type) {
    case wire::Control::kListen: ++books.listeners; break;
    case wire::Control::kReconnect: ++books.reconnects; break;
    case wire::Control::kInstalled: ++books.answers; break;
    case wire::Control::kConnect: ++books.connecting; break;
    default: break;
  }
  must(static_cast<int>(record.type) < 64, "a process does not say what is the daemon's to say");
  must(books.listeners <= daemons::kMaxSockets && books.reconnects <= daemons::kMaxSockets, "the books are bounded");
}

void take_accept(int fd) {
  int fds[wire::kMaxControlFds], count = 0;
  wire::AcceptRecord record;
  long r = transport::receive_record(fd, &record, sizeof record, fds, &count, true);
  must(r == 0 || count == 0, "a refused message leaves no descriptor");
  for (int i = 0; i < count; ++i) close(fds[i]);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  int pair[2];
  must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "no descriptor is lost");
  auto flags = input.number<uint8_t>();
  daemons::RecordBooks books{.listeners = flags & 8 ? daemons::kMaxSockets : 0, .arriving = (flags & 1) != 0,
                             .installing = (flags & 2) != 0};
  for (int i = 0; i < 16 && input.left(); ++i) {
    int descriptors = input.number<uint8_t>() % 7;
    std::string bytes = input.bytes(input.number<uint16_t>() % 1024);
    if (bytes.empty()) bytes = "?";  // an empty message is the channel's end
    send_message(pair[0], bytes, descriptors);
    if (flags & 4) take_accept(pair[1]);
    else take_control(pair[1], books);
  }
  close(pair[0]);
  close(pair[1]);
  return 0;
}
