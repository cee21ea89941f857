// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// What a process has besides memory and registers. Each kind of thing is a room of its own, a `Resource`, with save and restore in
// one file; resources.cc has the table of them, in the order in which they are put back. Async-signal-safe.
#pragma once
#include <sys/stat.h>

#include <cstdint>

#include "src/wire/image.h"

namespace msocket::checkpoint {

struct Map;

/// What forbids a move, by name: one line for each reason.
struct Refusal {
  char text[8192] = {};
  void add(const char* words);
  void add(long number);
  /// The reason is complete; what is added next is another one.
  void end();
  bool empty() const { return text[0] == 0; }
  /// Copies the first reason.
  void first(char* to, unsigned long size) const;
};

/// An open descriptor of the program's.
struct Descriptor {
  int fd;
  int flags;  ///< F_GETFL
  bool close_on_exec;
  bool path_whole;  ///< false: `path` has been cut
  struct stat st;
  char path[280];  ///< what /proc/self/fd says
};

/// What a dry look writes down for the destination to look at.
struct Needs {
  void (*file)(const char* path, int flags, int64_t size);
};

/// One kind of thing. Functions that a kind has no use for are null.
struct Resource {
  /// At the start of the program: how it was when the program got it.
  void (*start)() = nullptr;
  /// What of that the next program of this process is to know after an exec (transport/exec.h): registers it.
  void (*over_exec)() = nullptr;
  /// A look begins: what was noted before is forgotten. The same for the shared mappings.
  void (*begin)() = nullptr;
  void (*begin_maps)() = nullptr;
  /// Is this descriptor, this shared mapping of its kind? Then it is noted, or `why` says why it cannot move.
  bool (*claim)(const Descriptor& descriptor, Refusal* why) = nullptr;
  bool (*claim_map)(const Map& map, wire::ImageRegion* region, Refusal* why) = nullptr;
  /// All are noted: what else forbids a move? Nothing is changed.
  void (*look)(Refusal* why) = nullptr;
  /// The move has begun, and this process stands still: takes what must be taken.
  void (*take)(Refusal* why) = nullptr;
  /// All of the image but its end mark is out; what is done here comes before anything that the new process does in restore.
  void (*let_go)() = nullptr;
  /// The move is called off (also when nothing was taken), and the process goes on here.
  void (*give_back)() = nullptr;
  /// In the new process, which has the old one's memory. False: `why` says what is not here.
  bool (*restore)(Refusal* why) = nullptr;
  /// The same, once its sockets and epoll sets are there, too: what would be in the way before.
  bool (*finish)(Refusal* why) = nullptr;
  /// What the destination must have.
  void (*needs)(const Needs& to) = nullptr;
};

/// A process that is not "dumpable" may not even look at itself everywhere in /proc: it is, for so long.
class Dumpable {
 public:
  Dumpable();
  ~Dumpable();
  Dumpable(const Dumpable&) = delete;
  Dumpable& operator=(const Dumpable&) = delete;

 private:
  bool hidden_;
};

/// Remembers how the process was when the program got it: its streams, its limits. Called at the start.
void note_start();
/// Registers what must go over an exec; before note_start(), which the next program does not do.
void resources_go_over_exec();
/// Looks at everything and notes it. `why` says what cannot move, all of it.
void look_at_resources(const int* own_fds, int own_count, Refusal* why);
/// Before the memory map is gone through.
void begin_mappings();
/// A shared mapping: some room's? False: nobody's.
bool claim_mapping(const Map& map, wire::ImageRegion* region, Refusal* why);
/// After a look without a reason: takes what only a process that stands still may give. False: `why` says what failed.
bool take_resources(Refusal* why);
void let_go_of_resources();
/// Gives back what was taken, when the process goes on here.
void give_back_resources();
/// Puts everything back in the new process. False: `why` says what is not here.
bool restore_resources(Refusal* why);
/// The last of it, when the sockets are there.
bool finish_resources(Refusal* why);
void list_needs(const Needs& to);

/// "descriptor 7 is PATH<reason>", as one reason.
void refuse_descriptor(Refusal* why, const Descriptor& descriptor, const char* reason);
/// Puts the new descriptor `made` (or -errno) under the number that the program knows.
bool put_at(long made, int number, bool close_on_exec);

}  // namespace msocket::checkpoint
