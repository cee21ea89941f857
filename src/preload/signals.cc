// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Signals of the program beside the library's own. The control signal cannot be blocked, caught or ignored by the program; and
// a handler of the program's that interrupts a call just before it enters the kernel sets it back to its look first, as the
// library's own handler does: so a redirection inside that handler's time is seen.
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "include/msocket/msocket.h"

namespace {

constexpr int kControlSignal = 60;  // wire/control.h
using Handler = void (*)(int, siginfo_t*, void*);

struct Action {
  Handler handler;
  int flags;
};
Action actions[65];

template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}
using Sigaction = int (*)(int, const struct sigaction*, struct sigaction*);
using Sigmask = int (*)(int, const sigset_t*, sigset_t*);
Sigaction real_sigaction;
Sigmask real_sigprocmask, real_pthread_sigmask;
int (*real_sigsuspend)(const sigset_t*);

__attribute__((constructor(101))) void resolve() {
  if (real_sigsuspend) return;
  real_sigaction = next<Sigaction>("sigaction");
  real_sigprocmask = next<Sigmask>("sigprocmask");
  real_pthread_sigmask = next<Sigmask>("pthread_sigmask");
  real_sigsuspend = next<int (*)(const sigset_t*)>("sigsuspend");
  ms_look_again(nullptr);
}

void trampoline(int signo, siginfo_t* info, void* context) {
  ms_look_again(context);
  actions[signo].handler(signo, info, context);
}

bool caught(const struct sigaction* action) {
  return action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
}

const sigset_t* without_control(int how, const sigset_t* set, sigset_t* copy) {
  if (!set || how == SIG_UNBLOCK) return set;
  *copy = *set;
  sigdelset(copy, kControlSignal);
  return copy;
}

int change(int signo, const struct sigaction* action, struct sigaction* old) {
  resolve();
  if (!ms_virtual_address() || signo < 1 || signo > 64) return real_sigaction(signo, action, old);
  if (signo == kControlSignal) {
    errno = EINVAL;
    return -1;
  }
  // No handler of the program's may come between the table and the kernel.
  sigset_t all, before;
  sigfillset(&all);
  real_pthread_sigmask(SIG_BLOCK, &all, &before);
  Action previous = actions[signo];
  struct sigaction ours, was;
  if (action) {
    ours = *action;
    sigdelset(&ours.sa_mask, kControlSignal);
    if (caught(action)) {
      actions[signo] = {reinterpret_cast<Handler>(action->sa_sigaction), action->sa_flags};
      ours.sa_sigaction = trampoline;
      ours.sa_flags |= SA_SIGINFO;
    }
  }
  int r = real_sigaction(signo, action ? &ours : nullptr, &was);
  if (r != 0) actions[signo] = previous;
  if (r == 0 && old) {
    *old = was;
    if (was.sa_sigaction == trampoline) {
      old->sa_sigaction = previous.handler;
      old->sa_flags = previous.flags;
    }
  }
  int error = errno;
  real_pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return r;
}

sighandler_t simple(int signo, sighandler_t handler, int flags) {
  struct sigaction action, old;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaddset(&action.sa_mask, signo);
  return change(signo, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int sigaction(int signo, const struct sigaction* action, struct sigaction* old) noexcept {
  return change(signo, action, old);
}
EXPORT sighandler_t signal(int signo, sighandler_t handler) noexcept { return simple(signo, handler, SA_RESTART); }
EXPORT sighandler_t bsd_signal(int signo, sighandler_t handler) noexcept { return simple(signo, handler, SA_RESTART); }
EXPORT sighandler_t sysv_signal(int signo, sighandler_t handler) noexcept {
  return simple(signo, handler, static_cast<int>(SA_RESETHAND | SA_NODEFER));
}
EXPORT sighandler_t __sysv_signal(int signo, sighandler_t handler) noexcept {
  return simple(signo, handler, static_cast<int>(SA_RESETHAND | SA_NODEFER));
}

EXPORT int sigprocmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  resolve();
  sigset_t copy;
  return real_sigprocmask(how, without_control(how, set, &copy), old);
}
EXPORT int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  resolve();
  sigset_t copy;
  return real_pthread_sigmask(how, without_control(how, set, &copy), old);
}
EXPORT int sigsuspend(const sigset_t* set) {
  resolve();
  sigset_t copy;
  return real_sigsuspend(without_control(SIG_SETMASK, set, &copy));
}

// Who takes signals by a call, and asks for all of them, must not take the library's away from its handler.
namespace {
template <class... Arguments>
int take(const char* name, const sigset_t* set, Arguments... arguments) {
  sigset_t copy;
  return next<int (*)(const sigset_t*, Arguments...)>(name)(without_control(SIG_SETMASK, set, &copy), arguments...);
}
}  // namespace
EXPORT int sigwait(const sigset_t* set, int* signo) { return take("sigwait", set, signo); }
EXPORT int sigwaitinfo(const sigset_t* set, siginfo_t* info) { return take("sigwaitinfo", set, info); }
EXPORT int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  return take("sigtimedwait", set, info, timeout);
}
EXPORT int signalfd(int fd, const sigset_t* set, int flags) noexcept {
  sigset_t copy;
  return next<int (*)(int, const sigset_t*, int)>("signalfd")(fd, without_control(SIG_SETMASK, set, &copy), flags);
}

// A child that shares this memory would close and replace the parent's virtual sockets: a real copy instead.
EXPORT pid_t vfork(void) noexcept { return fork(); }
