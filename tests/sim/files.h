// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What descriptors refer to in the simulated kernel: streams (TCP, with a network between the ends; AF_UNIX without), and
// SEQPACKET sockets that carry descriptors. Behaviour as Linux's where the code under test can see it.
#pragma once
#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "tests/sim/scheduler.h"

namespace msocket::sim {

struct Proc;
struct File;
using FilePtr = std::shared_ptr<File>;

struct File {
  File();
  virtual ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  virtual short events() const = 0;  ///< POLLIN, ... as poll would say
  /// Something has come: the owner's signal, if it is asked for.
  void arrived();

  int id;
  bool nonblock = false, async = false;
  uint64_t news = 0;  ///< counts what edge-triggered epoll hears of
  int owner = 0;  ///< F_SETOWN_EX
  std::map<std::pair<int, int>, std::string> options;
  static std::map<int, File*> all;
};

struct Stream;

/// One direction of a stream. `sent`: in the sender's kernel or on its way; `got`: in the receiver's.
struct Pipe : Event {
  std::string sent, got;
  size_t send_room = 0, receive_room = 0;
  bool fin = false, fin_arrived = false, reset = false, local = false, dead = false;
  std::weak_ptr<Stream> from, to;
  bool due() const override;
  bool over() const override;
  void happen() override;
  void kill() { sent.clear(), fin = reset = false, dead = true; }
};

struct Stream : File {
  ~Stream() override;
  short events() const override;
  long read(char* data, size_t length, bool peek);
  long write(const char* data, size_t length);
  void shutdown(int how);
  void on_reset();
  int take_error();
  void set_send_room(size_t bytes);
  bool connected() const { return out != nullptr; }

  std::shared_ptr<Pipe> in, out;
  bool local = false, shut_read = false, shut_write = false, was_reset = false;
  size_t send_room = 0, low_water = 1;
  size_t peeked = 0;  ///< so much was looked at, and is still there
  int error = 0;
};
using StreamPtr = std::shared_ptr<Stream>;

struct Record {
  std::string bytes;
  std::vector<FilePtr> files;
};

struct Packets : File {
  ~Packets() override;
  short events() const override;
  bool full() const { return queue.size() >= 128; }
  /// 0, -EAGAIN, -EPIPE
  long send(Record record);
  long receive(Record* record);

  std::deque<Record> queue;  ///< to be read here
  std::weak_ptr<Packets> peer;
};
using PacketsPtr = std::shared_ptr<Packets>;

/// SO_LINGER with no time: the last close resets it.
void reset_when_closed(Stream& stream);
std::pair<StreamPtr, StreamPtr> make_tcp();
std::pair<StreamPtr, StreamPtr> make_local();
std::pair<PacketsPtr, PacketsPtr> make_packets();

}  // namespace msocket::sim
