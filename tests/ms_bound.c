/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * What binds a process to its node, one case for each; see resources.h. While it is held the process must not move, and when it has been
 * given back it must.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <mqueue.h>
#include <pthread.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "resources.h"

static int fd = -1, other = -1;
static pid_t child = -1;
static void* memory;

static int nothing(void) { return 1; }
static int close_it(void) {
  MUST(!close(fd) && (other < 0 || !close(other)));
  other = -1;
  return 1;
}

/* not through libmsocket, which would make sockets of its own of them */
static int hold_tcp(void) {
  MUST((fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0)) >= 0);
  return 1;
}
static int hold_unix(void) {
  int pair[2];
  MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  fd = pair[0], other = pair[1];
  return 1;
}
static int hold_inotify(void) {
  MUST((fd = inotify_init1(0)) >= 0);
  return 1;
}
static int hold_fanotify(void) {
  MUST((fd = fanotify_init(FAN_CLASS_NOTIF, O_RDONLY)) >= 0);
  return 1;
}
static int hold_uring(void) {
  struct io_uring_params parameters = {0};
  MUST((fd = (int)syscall(SYS_io_uring_setup, 4, &parameters)) >= 0);
  return 1;
}
static int hold_userfault(void) {
  MUST((fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)) >= 0);
  return 1;
}
static int hold_pidfd(void) {
  MUST((fd = (int)syscall(SYS_pidfd_open, getpid(), 0)) >= 0);
  return 1;
}
static int hold_queue(void) {
  MUST((fd = mq_open("/msocket-test", O_CREAT | O_RDWR, 0600, NULL)) >= 0 && !mq_unlink("/msocket-test"));
  return 1;
}
static int hold_fifo(void) {
  MUST((!mkfifo(in_folder("fifo"), 0600) || errno == EEXIST) && (fd = open(in_folder("fifo"), O_RDWR)) >= 0);
  return 1;
}
static int hold_terminal(void) {
  MUST((fd = posix_openpt(O_RDWR | O_NOCTTY)) >= 0);
  return 1;
}
static int hold_device(void) {
  MUST((fd = open("/dev/net/tun", O_RDWR)) >= 0 || (fd = open("/dev/fuse", O_RDWR)) >= 0);
  return 1;
}
static int hold_lease(void) {
  MUST((fd = open(in_folder("leased"), O_CREAT | O_RDONLY, 0600)) >= 0 && !fcntl(fd, F_SETLEASE, F_RDLCK));
  return 1;
}
static int hold_child(void) {
  MUST((child = fork()) >= 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  return 1;
}
static int free_child(void) {
  MUST(!kill(child, SIGKILL) && waitpid(child, NULL, 0) == child);
  return 1;
}
static volatile int thread_ends;
static pthread_t thread;
static void* wait_for_end(void* unused) {
  while (!thread_ends) usleep(1000);
  return unused;
}
static int hold_thread(void) {
  thread_ends = 0;
  MUST(!pthread_create(&thread, NULL, wait_for_end, NULL));
  return 1;
}
static int free_thread(void) {
  thread_ends = 1;
  MUST(!pthread_join(thread, NULL));
  return 1;
}
static int hold_sysv(void) {
  int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
  MUST(id >= 0 && (memory = shmat(id, NULL, 0)) != (void*)-1 && !shmctl(id, IPC_RMID, NULL));
  return 1;
}
static int free_sysv(void) {
  MUST(!shmdt(memory));
  return 1;
}
static int hold_shm(void) {
  MUST((fd = shm_open("/msocket-test", O_CREAT | O_RDWR, 0600)) >= 0 && !ftruncate(fd, 4096));
  MUST((memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) != MAP_FAILED && !close(fd));
  return 1;
}
static int free_shm(void) {
  MUST(!munmap(memory, 4096) && !shm_unlink("/msocket-test"));
  return 1;
}
static int hold_hidden(void) {
  MUST(!prctl(PR_SET_DUMPABLE, 0));
  return 1;
}
static int free_hidden(void) {
  MUST(!prctl(PR_SET_DUMPABLE, 1));
  return 1;
}
/* the last one: a filter cannot be given back */
static int hold_filter(void) {
  struct sock_filter code[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
  struct sock_fprog program = {1, code};
  MUST(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
  return 1;
}

int main(int argc, char** argv) {
  static const struct test_case cases[] = {
      {"tcp", hold_tcp, nothing, close_it},           {"unix", hold_unix, nothing, close_it},
      {"inotify", hold_inotify, nothing, close_it},   {"fanotify", hold_fanotify, nothing, close_it},
      {"uring", hold_uring, nothing, close_it},       {"userfault", hold_userfault, nothing, close_it},
      {"pidfd", hold_pidfd, nothing, close_it},       {"queue", hold_queue, nothing, close_it},
      {"fifo", hold_fifo, nothing, close_it},         {"terminal", hold_terminal, nothing, close_it},
      {"device", hold_device, nothing, close_it},     {"lease", hold_lease, nothing, close_it},
      {"child", hold_child, nothing, free_child},     {"thread", hold_thread, nothing, free_thread},
      {"sysv", hold_sysv, nothing, free_sysv},        {"shm", hold_shm, nothing, free_shm},
      {"hidden", hold_hidden, nothing, free_hidden},  {"filter", hold_filter, nothing, nothing},      {0}};
  return serve("ms_bound", cases, argc, argv);
}
