// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Descriptors that no room knows: each is refused, with what it is and the way out if there is one.
#include <fcntl.h>

#include "src/checkpoint/proc_text.h"
#include "src/checkpoint/resources.h"

namespace msocket::checkpoint {

namespace {

constexpr struct {
  const char *path, *reason;
} known[] = {
    {"anon_inode:inotify", ", which watches files of this node"},
    {"anon_inode:[inotify]", ", which watches files of this node"},
    {"anon_inode:[fanotify]", ", which watches files of this node"},
    {"anon_inode:[io_uring]", ", a ring of system calls (io_uring)"},
    {"anon_inode:[userfaultfd]", ", which handles page faults"},
    {"anon_inode:[perf_event]", ", a counter of this node's kernel"},
    {"anon_inode:[pidfd]", ", another process of this node"},
    {"pidfd:", ", another process of this node"},
    {"anon_inode:[eventpoll]", ", an epoll set that was made behind msocket's back"},
    {"/dev/tty", ", a terminal"},
    {"/dev/pts/", ", a terminal"},
    {"/dev/ptmx", ", a terminal"},
};

const char* reason_of(const Descriptor& d) {
  if (S_ISSOCK(d.st.st_mode)) return ", a plain socket (started by msrun a program has every TCP and UDP socket virtual)";
  if (S_ISFIFO(d.st.st_mode)) return ", a pipe";
  if (S_ISDIR(d.st.st_mode)) return ", a deleted directory";
  for (const auto& one : known)
    if (begins_with(d.path, one.path)) return one.reason;
  if (S_ISCHR(d.st.st_mode) || S_ISBLK(d.st.st_mode)) return ", a device of this node";
  return ", which is bound to this node";
}

bool claim(const Descriptor& d, Refusal* why) {
  refuse_descriptor(why, d, reason_of(d));
  return true;
}

}  // namespace

extern const Resource strangers;
const Resource strangers{.claim = claim};

}  // namespace msocket::checkpoint
