// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// The control channel between a process and the msdaemon of its node (paper 6.3): one fixed-layout record per
// SOCK_SEQPACKET message, descriptors by SCM_RIGHTS. Both ends are on one machine and of one build, so host byte order.
// See doc/wire-format.md.
#pragma once
#include <cstdint>

#include "src/util/ids.h"

namespace msocket::wire {

inline constexpr uint32_t kControlMagic = 0x6d73636c;  // "mscl"
inline constexpr uint16_t kControlVersion = 1;
/// The descriptor number under which a process finds its control channel; above what a program usually opens, below the
/// usual soft limit of 1024.
inline constexpr int kControlFd = 1000;
/// The daemon puts the rank's PMI stream here (PMI_FD).
inline constexpr int kPmiFd = 3;
inline constexpr int kMaxControlFds = 3;
/// The kernel raises this when a record arrives (O_ASYNC + F_SETSIG). A real-time signal, so none is merged away.
inline constexpr int kControlSignal = 60;

enum class Control : uint16_t {
  // process -> daemon
  kHello = 1,      ///< text: path given to exec; arg0: pid
  kListen,         ///< local; fd: the daemon's end of the listener channel
  kUnlisten,       ///< local
  kConnect,        ///< conn, local, peer
  kInstalled,      ///< conn, gens; error: 0, or ENOTCONN when the program has closed it ("gone")
  kFrozen,         ///< the process stands still and its image begins; arg0: connections; error+text: cannot be saved
  kReconnect,      ///< after a restore, one per connection: conn, local, peer, gens, flags
  kRestored,       ///< all memory and resources are in place; arg0: connections announced; error+text
  kSettled,        ///< after a move: no connection is on its way any more
  kFork,           ///< the process is about to fork; fd: the daemon's end of the child's control channel
  kTracked,        ///< answers kTrack; fd: a userfaultfd of the process, or error
  kLooked,         ///< answers kLook; arg0: as there
  kUdpBind = 40,   ///< local; peer: the real address and port; fd: the same socket, for what comes to it after a move
  kUdpUnbind,      ///< local
  kUdpLookup,      ///< peer: where is it?
  // daemon -> process
  kStart = 64,     ///< the first record: local.ip = virtual address, local_gen, flags, text = node name; fds: image, mirror
  kConnected,      ///< conn, error; fd
  kInstall,        ///< conn, gens; fd, or error: ENOTCONN: the peer has closed for good, ECONNRESET: the one that it took was lost;
                   ///< arg0: a number that comes back in the answer; arg1: forks that the daemon has heard of
  kFreeze,         ///< fds: image stream, the mirror's mailbox; kFlagBegun: and the list of what has been sent (SentRun)
  kCommit,         ///< to the old process: the new one runs; end without a trace
  kRollback,       ///< to the old process: nothing has happened; go on
  kResume,         ///< to the new process: run
  kHeld,           ///< to the new process, before kResume: conn, local, peer, peer_gen: accepted for it while it was suspended
  kHold,           ///< conn, arg0, arg1 as in kInstall; flags: kFlagHold; answered by kInstalled
  kTrack,          ///< give me a userfaultfd: I shall look which pages you write
  kLook,           ///< look at yourself, go on, and say what you found (look.h): fds: a file for it, marks; flags: kLookCount; arg0
  kUdpPlace = 104, ///< peer, local: the real address and port behind it; or error. Answers kUdpLookup, or corrects it later
};

inline constexpr uint32_t kFlagRestore = 1;    ///< kStart: fill yourself from the image stream
inline constexpr uint32_t kFlagNamespaces = 128;  ///< kStart: it has its own: ids and the monotonic clock are the image's
inline constexpr uint32_t kFlagConnector = 2;  ///< this end opened the connection first
/// kInstall: `text` begins with a wire::Answer, to be written on the new connection before the program can write.
inline constexpr uint32_t kFlagAnswer = 8;
inline constexpr uint32_t kAnswerLength = 48;
/// kInstall: other processes have the connection, too.
inline constexpr uint32_t kFlagShared = 16;
/// kHold: calls on the connection wait; without it they go on.
inline constexpr uint32_t kFlagHold = 32;
/// kFreeze: the image's start and many of its pages are in the stream already.
inline constexpr uint32_t kFlagBegun = 128;
/// kHello: another program goes on with what the last one had (exec); it needs no kStart.
inline constexpr uint32_t kFlagExec = 64;
/// kStart: peer.ip is the node's own address, and here in `text` is the key of the job's datagrams.
inline constexpr uint32_t kUdpKeyAt = 64;

struct ControlRecord {
  uint32_t magic = kControlMagic;
  uint16_t version = kControlVersion;
  Control type{};
  ConnId conn{};
  Endpoint local{};
  Endpoint peer{};
  Generation local_gen = 0;
  Generation peer_gen = 0;
  int32_t error = 0;  ///< an errno, 0 for success
  uint32_t flags = 0;
  uint64_t arg0 = 0;
  uint64_t arg1 = 0;
  char text[256] = {};
};
static_assert(sizeof(ControlRecord) == 328);

/// One message on a listener channel, daemon -> process: a peer has connected; its socket is the message's descriptor.
struct AcceptRecord {
  uint32_t magic = kControlMagic;
  Generation peer_gen = 0;
  ConnId conn{};
  Endpoint peer{};
};
static_assert(sizeof(AcceptRecord) == 32);

}  // namespace msocket::wire
