// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// epoll. The kernel keeps in an epoll set the socket that was under a number when it was added, not the number: so each time
// another socket comes under a number its entries are taken out before and put in again after, and while reading a socket
// needs more than the kernel knows (kReadSlow), the kernel is asked about the rest only and what is readable is added to what
// epoll_wait returns. Lock held; async-signal-safe.
#pragma once
#include <sys/epoll.h>

#include <cstdint>

#include "src/transport/vsocket.h"

namespace msocket::transport {

/// One socket's entry in one epoll set.
struct Watch {
  int set;            ///< EpollSet::id
  int fd;             ///< the number that it was added under
  uint32_t events;    ///< as the program gave them
  uint32_t in_kernel; ///< what the kernel was asked for; kNotThere: it has no such entry
  uint64_t data;
  uint32_t seen;      ///< VSocket::arrivals when an edge was last reported
  bool disabled;      ///< EPOLLONESHOT, and it has fired
  bool muted;         ///< the new connection has ended, which is not news before the old one has: the kernel is not asked till then
  bool old_there;     ///< the old connection of a shared socket is in the set too
  Watch* next;
};

/// A descriptor of an epoll set; duplicates have the same id.
struct EpollSet {
  int fd;
  int id;  ///< 0: the slot is free
};
inline constexpr int kMaxEpollSets = 256;
extern EpollSet epoll_sets[kMaxEpollSets];

/// Remembers a new epoll descriptor (duplicate_of < 0), or a duplicate. False: there is no room.
bool add_epoll(int fd, int duplicate_of);
void remove_epoll(int fd);
/// 0: not one that we know.
int epoll_id(int fd);

/// epoll_ctl on a virtual socket. 0 or -errno.
long change_watch(int set, int operation, int fd, VSocket* vs, const epoll_event* event);
/// Before another socket comes under vs's numbers.
void take_out_watches(VSocket* vs);
/// Before the old connection is closed: other processes may keep it open, and with it its entries.
void take_out_old(VSocket* vs);
/// The kernel is asked for what the socket's state leaves to it; called by refresh().
void sync_watches(VSocket* vs);
/// The number will be closed, or is plain from here on (keep_in_kernel).
void drop_watches(VSocket* vs, int fd, bool keep_in_kernel);
/// Takes out of the kernel's events what is not news yet: while the old connection drains, the end of the new one. How many are left.
int drop_early_ends(int set, epoll_event* events, int count);
/// The kernel has just given events of this set: its one-shot entries among slow sockets must not give another by themselves.
void learn_fired(int set);
/// Writes the events that slow sockets of this set have by themselves; with most == 0 it only counts them.
int own_epoll_events(int set, epoll_event* events, int most);

/// Around a move of this process: what the sets hold besides virtual sockets is read from the kernel, and put in again.
/// False: too many entries, or an epoll descriptor that the library has not seen made.
bool save_epolls();
/// Makes the sets again under their numbers, with everything in them. Called when all other descriptors are there.
bool restore_epolls();

}  // namespace msocket::transport
