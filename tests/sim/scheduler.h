// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// tests/sim: the property test of the socket layer.
//
// Several processes run in one, each with its own copy of the real src/transport (module.cc, loaded once per process) and
// with the real src/mirror. Below them is a kernel of our own (files.cc, kernel.cc) with a network that delays, splits and
// reorders all that a network may; beside them daemons (node.cc, connector.cc, mover.cc), step by step as src/daemons; above them programs
// that do at random what programs do, and check every byte (program.cc, checks.cc). Nothing is real but the code under test:
// time is virtual, one random number generator decides everything, so a seed repeats a run exactly.
//
//   property_test                      several seeds, one of them new; then planted faults, each of which must be found
//   property_test --seed N [--steps N] [--trace]     one run again
//
// This file: fibers, virtual time, and what runs next.
#pragma once
#include <ucontext.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace msocket::sim {

using Time = int64_t;  ///< microseconds
inline constexpr Time kMs = 1000, kSecond = 1000 * kMs;

struct Random {
  uint64_t state = 1;
  uint64_t next();
  uint64_t below(uint64_t n) { return n ? next() % n : 0; }
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  bool percent(unsigned p) { return below(100) < p; }
  bool one_in(unsigned n) { return below(n) == 0; }
};

struct Proc;

/// Something that runs: a program, a mirror, one of a daemon's activities.
struct Fiber {
  int id = 0;
  std::string name;
  std::function<void()> body;
  ucontext_t context{};
  std::unique_ptr<char[]> stack;
  std::function<bool()> until;  ///< empty: ready
  Time deadline = -1, not_before = 0;
  bool started = false, done = false;
  long call = -1;        ///< the number of its system call under way
  Proc* proc = nullptr;  ///< whose descriptors it uses; nullptr: a daemon's
  int masked = 0;        ///< > 0: signals wait
  int still = 0;         ///< > 0: it does not give way (kernel.h)
};

/// A part of the network that has something to do by itself.
struct Event {
  virtual ~Event() = default;
  virtual bool due() const = 0;
  virtual bool over() const = 0;
  virtual void happen() = 0;
  Time not_before = 0;
};

class Scheduler {
 public:
  Random random;
  Time now = 0;
  uint64_t steps = 0;
  Fiber* current = nullptr;
  bool print_trace = false;
  std::string fault;  ///< the planted fault; empty: none
  std::string repeat; ///< the command that repeats this run
  std::function<void()> dump;  ///< what else to say at a failure

  Fiber* spawn(std::string name, std::function<void()> body, Proc* proc = nullptr);
  void add(std::shared_ptr<Event> event) { events_.push_back(std::move(event)); }
  /// Gives way to others for `delay`.
  void sleep(Time delay);
  /// Gives way until the condition holds (true) or the limit has passed (false; < 0: no limit).
  bool wait(std::function<bool()> until, Time limit = -1);
  /// Mostly little, sometimes much.
  Time delay();
  /// One step of something. False: nothing is left that could ever run.
  bool step();
  size_t running() const { return fibers_.size(); }
  bool planted(const char* name) const { return fault == name; }

  void trace(const char* format, ...) __attribute__((format(printf, 2, 3)));
  /// Says what is wrong and how to repeat it, and ends this run.
  [[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 2, 3)));

 private:
  static void enter();
  void resume(Fiber* fiber);
  void give_way();
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<std::shared_ptr<Event>> events_;
  std::vector<std::unique_ptr<char[]>> stacks_;
  std::deque<std::string> lines_;
  ucontext_t main_{};
  int next_id_ = 0;
};

extern Scheduler sim;

}  // namespace msocket::sim
