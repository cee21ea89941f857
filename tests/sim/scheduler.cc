// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#include "tests/sim/scheduler.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace msocket::sim {

namespace {
constexpr size_t kStack = 256 * 1024;  // the mirror has a buffer of 64 KiB on its stack
constexpr size_t kLines = 60;
}  // namespace

Scheduler sim;

uint64_t Random::next() {  // splitmix64
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

Time Scheduler::delay() {
  uint64_t kind = random.below(100);
  if (kind < 60) return static_cast<Time>(random.below(50));
  if (kind < 90) return static_cast<Time>(random.below(1 * kMs));
  if (kind < 99) return static_cast<Time>(random.below(10 * kMs));
  return static_cast<Time>(random.below(80 * kMs));
}

Fiber* Scheduler::spawn(std::string name, std::function<void()> body, Proc* proc) {
  auto fiber = std::make_unique<Fiber>();
  fiber->id = next_id_++;
  fiber->name = std::move(name);
  fiber->body = std::move(body);
  fiber->proc = proc;
  if (stacks_.empty()) {
    fiber->stack.reset(new char[kStack]);
  } else {
    fiber->stack = std::move(stacks_.back());
    stacks_.pop_back();
  }
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack.get();
  fiber->context.uc_stack.ss_size = kStack;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, &Scheduler::enter, 0);
  fibers_.push_back(std::move(fiber));
  return fibers_.back().get();
}

void Scheduler::enter() {
  Fiber* self = sim.current;
  self->body();
  self->done = true;
  sim.give_way();
}

void Scheduler::give_way() {
  Fiber* self = current;
  swapcontext(&self->context, &main_);
}

void Scheduler::resume(Fiber* fiber) {
  fiber->until = nullptr;
  current = fiber;
  swapcontext(&main_, &fiber->context);
  current = nullptr;
}

void Scheduler::sleep(Time delay) {
  current->not_before = now + delay;
  current->deadline = -1;
  current->until = nullptr;
  give_way();
}

bool Scheduler::wait(std::function<bool()> until, Time limit) {
  if (until()) return true;
  auto condition = std::make_shared<std::function<bool()>>(std::move(until));
  current->deadline = limit < 0 ? -1 : now + limit;
  current->until = [condition] { return (*condition)(); };
  give_way();
  return (*condition)();
}

bool Scheduler::step() {
  ++steps;
  now += static_cast<Time>(random.below(20));
  std::vector<Fiber*> ready;
  std::vector<Event*> due;
  for (;;) {
    Time next = -1;
    auto at = [&](Time t) {
      if (next < 0 || t < next) next = t;
    };
    for (auto& fiber : fibers_) {
      bool held = fiber->until && !fiber->until();
      if (held && fiber->deadline < 0) continue;
      Time t = held && fiber->deadline > fiber->not_before ? fiber->deadline : fiber->not_before;
      if (t <= now) ready.push_back(fiber.get());
      else at(t);
    }
    for (auto& event : events_) {
      if (!event->due()) continue;
      if (event->not_before <= now) due.push_back(event.get());
      else at(event->not_before);
    }
    if (!ready.empty() || !due.empty()) break;
    if (next < 0) return false;
    now = next;
  }
  size_t pick = random.below(ready.size() + due.size());
  if (pick >= ready.size()) {
    due[pick - ready.size()]->happen();
    std::erase_if(events_, [](auto& event) { return event->over(); });
    return true;
  }
  resume(ready[pick]);
  std::erase_if(fibers_, [this](auto& fiber) {
    if (!fiber->done) return false;
    stacks_.push_back(std::move(fiber->stack));
    return true;
  });
  return true;
}

void Scheduler::trace(const char* format, ...) {
  char text[400];
  int n = snprintf(text, sizeof text, "%8llu %12.6f  %-14s ", static_cast<unsigned long long>(steps), now / 1e6,
                   current ? current->name.c_str() : "network");
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text + n, sizeof text - n, format, arguments);
  va_end(arguments);
  if (print_trace) fprintf(stderr, "%s\n", text);
  lines_.emplace_back(text);
  if (lines_.size() > kLines) lines_.pop_front();
}

void Scheduler::fail(const char* format, ...) {
  if (!print_trace) {
    fprintf(stderr, "the last lines of the trace:\n");
    for (auto& line : lines_) fprintf(stderr, "%s\n", line.c_str());
  }
  if (dump) dump();
  fprintf(stderr, "who runs:\n");
  for (auto& fiber : fibers_)
    fprintf(stderr, "  %s: %s, system call %ld, signals %s, not before %.6f, deadline %.6f\n", fiber->name.c_str(),
            fiber->until ? "waits" : "ready", fiber->call, fiber->masked ? "masked" : "taken", fiber->not_before / 1e6,
            fiber->deadline / 1e6);
  fprintf(stderr, "FAILED at step %llu, in %s: ", static_cast<unsigned long long>(steps),
          current ? current->name.c_str() : "the network");
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, "\nagain: %s\n", repeat.c_str());
  fflush(stderr);
  _Exit(1);
}

}  // namespace msocket::sim
