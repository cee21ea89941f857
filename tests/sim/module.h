// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What a copy of the library offers to the test (module.cc). Each copy has its own tables, as each process has.
#pragma once
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "src/wire/control.h"

namespace msocket::sim {

struct Library {
  // What a program calls
  long (*socket)(int, int, int);
  long (*bind)(int, const sockaddr*, socklen_t);
  long (*listen)(int, int);
  long (*accept)(int, sockaddr*, socklen_t*, int);
  long (*connect)(int, const sockaddr*, socklen_t);
  long (*shutdown)(int, int);
  long (*close)(int);
  long (*dup)(int);
  long (*dup3)(int, int, int);
  long (*read)(int, void*, size_t);
  long (*readv)(int, const iovec*, int);
  long (*recv)(int, void*, size_t, int);
  long (*write)(int, const void*, size_t);
  long (*writev)(int, const iovec*, int);
  long (*send)(int, const void*, size_t, int);
  long (*fcntl)(int, int, long);
  long (*setsockopt)(int, int, int, const void*, socklen_t);
  long (*getsockopt)(int, int, int, void*, socklen_t*);
  long (*getsockname)(int, sockaddr*, socklen_t*);
  long (*getpeername)(int, sockaddr*, socklen_t*);
  long (*poll)(pollfd*, nfds_t, int);
  long (*select)(int, fd_set*, fd_set*, fd_set*, timeval*);
  long (*recvmsg)(int, msghdr*, int);
  long (*sendmsg)(int, const msghdr*, int);
  long (*epoll_create)(int);
  long (*epoll_ctl)(int, int, int, epoll_event*);
  long (*epoll_wait)(int, epoll_event*, int, int, const sigset_t*);

  // What src/checkpoint does with it
  void (*begin)(const wire::ControlRecord& start, int control_fd);  ///< the constructor
  bool (*linger)(int timeout_ms);   ///< the destructor, one turn: true when nothing awaits its connection any more
  /// The freeze, up to kFrozen; how many sockets the mirror has got. `good`: the process can be saved.
  int (*hand_over)(int mailbox_fd, bool good);
  void (*close_own)(int fd);
  void (*undo)();                    ///< the move is called off
  int (*restore)(const wire::ControlRecord& start, int control_fd, int mirror_fd);
  long (*say)(const wire::ControlRecord& record);  ///< to the daemon
  long (*hear)(wire::ControlRecord* record, bool dont_wait);

  // What the test looks at
  int (*sockets)();       ///< that are not free
  bool (*knows)(int fd);  ///< the number is in the tables
  uint32_t (*serial)();  ///< of the last transition
  void (*print_transitions)();
};

using Kernel = long (*)(long nr, const long* arguments, bool guarded);
using Freeze = void (*)(int image_fd, int mailbox_fd);
/// The module's one exported function.
using Open = const Library* (*)(Kernel kernel, long look_again, Freeze freeze);

}  // namespace msocket::sim
