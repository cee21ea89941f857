/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Files of all kinds that move with their process; see resources.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "resources.h"

static int make(const char* name, int flags, const char* text) {
  int fd = open(in_folder(name), O_CREAT | O_TRUNC | O_RDWR, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) != 0) return -1;
  return open(in_folder(name), flags);
}

static int content_is(const char* name, const char* text) {
  char found[256] = "";
  int fd = open(in_folder(name), O_RDONLY);
  ssize_t n = fd < 0 ? -1 : read(fd, found, sizeof found - 1);
  close(fd);
  return n == (ssize_t)strlen(text) && !memcmp(found, text, n);
}

/* all open modes, offsets, flags, close-on-exec */
static int reader, writer, both, appender, copy, apart, rounds;
static int hold_modes(void) {
  MUST((reader = make("reader", O_RDONLY | O_CLOEXEC | O_NOATIME, "0123456789")) >= 0);
  MUST((writer = make("writer", O_WRONLY | O_SYNC, "0123456789")) >= 0);
  MUST((both = make("both", O_RDWR | O_NONBLOCK, "0123456789")) >= 0);
  MUST((appender = make("appender", O_WRONLY | O_APPEND, "")) >= 0);
  MUST(lseek(reader, 3, SEEK_SET) == 3 && lseek(writer, 5, SEEK_SET) == 5 && lseek(both, 7, SEEK_SET) == 7);
  MUST((copy = dup(both)) >= 0 && (apart = open(in_folder("both"), O_RDWR)) >= 0);
  return 1;
}
static int check_modes(void) {
  char c = 0, expected[64];
  MUST(lseek(reader, 0, SEEK_CUR) == 3 && read(reader, &c, 1) == 1 && c == '3' && lseek(reader, 3, SEEK_SET) == 3);
  MUST(write(reader, "x", 1) < 0 && read(writer, &c, 1) < 0);
  MUST(fcntl(reader, F_GETFD) == FD_CLOEXEC && fcntl(writer, F_GETFD) == 0);
  MUST(fcntl(reader, F_GETFL) & O_NOATIME);
  MUST((fcntl(writer, F_GETFL) & (O_ACCMODE | O_SYNC)) == (O_WRONLY | O_SYNC));
  MUST((fcntl(both, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDWR | O_NONBLOCK));
  MUST(lseek(writer, 0, SEEK_CUR) == 5);
  /* a copy shares the offset, a file opened twice does not */
  MUST(lseek(both, 0, SEEK_CUR) == 7 && lseek(copy, 2, SEEK_SET) == 2 && lseek(both, 0, SEEK_CUR) == 2 && lseek(apart, 0, SEEK_CUR) == 0);
  MUST(lseek(both, 7, SEEK_SET) == 7);
  MUST((fcntl(appender, F_GETFL) & O_APPEND) && lseek(appender, 0, SEEK_SET) == 0 && write(appender, "a", 1) == 1);
  memset(expected, 'a', sizeof expected);
  expected[++rounds] = 0;
  MUST(content_is("appender", expected));
  return 1;
}
static int free_modes(void) {
  MUST(!close(reader) && !close(writer) && !close(both) && !close(appender) && !close(copy) && !close(apart));
  return 1;
}

/* directories, devices, /proc, /sys */
static int directory, null, zero, random_, self_status, meminfo;
static int hold_special(void) {
  MUST((directory = open(folder, O_RDONLY | O_DIRECTORY)) >= 0 && (null = open("/dev/null", O_RDWR)) >= 0);
  MUST((zero = open("/dev/zero", O_RDONLY)) >= 0 && (random_ = open("/dev/urandom", O_RDONLY)) >= 0);
  MUST((self_status = open("/proc/self/status", O_RDONLY)) >= 0 && (meminfo = open("/proc/meminfo", O_RDONLY)) >= 0);
  return 1;
}
static int check_special(void) {
  char text[4096], wanted[64];
  int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY);
  MUST(fd >= 0 && !close(fd));
  MUST(write(null, "x", 1) == 1 && read(null, text, 1) == 0 && read(zero, text, 1) == 1 && !text[0] && read(random_, text, 8) == 8);
  MUST(pread(meminfo, text, 9, 0) == 9 && !memcmp(text, "MemTotal:", 9));
  ssize_t n = pread(self_status, text, sizeof text - 1, 0);
  MUST(n > 0);
  text[n] = 0;
  snprintf(wanted, sizeof wanted, "\nPid:\t%d\n", (int)getpid());
  MUST(strstr(text, wanted));
  return 1;
}
static int free_special(void) {
  MUST(!close(directory) && !close(null) && !close(zero) && !close(random_) && !close(self_status) && !close(meminfo));
  return 1;
}

/* deleted and never named files, O_DIRECT, with descriptors and mappings of the same one */
static int gone, gone_copy, tmpfile_, direct;
static char *gone_map, *gone_private;
static int hold_deleted(void) {
  MUST((gone = make("gone", O_RDWR, "deleted content")) >= 0 && !ftruncate(gone, 3 * 4096));
  MUST((gone_map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, gone, 0)) != MAP_FAILED);
  MUST((gone_private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, gone, 0)) != MAP_FAILED);
  gone_private[8] = 'C';
  MUST(!unlink(in_folder("gone")) && (gone_copy = dup(gone)) >= 0 && lseek(gone, 4, SEEK_SET) == 4);
  MUST((tmpfile_ = open(folder, O_TMPFILE | O_RDWR | O_APPEND, 0640)) >= 0 && write(tmpfile_, "never named", 11) == 11);
  strcpy(gone_map + 2 * 4096, "far");
  direct = make("direct", O_RDWR | O_DIRECT, "0123456789");
  MUST(direct >= 0 || errno == EINVAL); /* some file systems have none */
  return 1;
}
static int check_deleted(void) {
  char text[64] = "";
  struct stat st;
  MUST(pread(gone, text, 15, 0) == 15 && !strcmp(text, "deleted content"));
  MUST(lseek(gone_copy, 0, SEEK_CUR) == 4 && lseek(gone_copy, 4, SEEK_SET) == 4);
  MUST(!strcmp(gone_map, "deleted content") && !strcmp(gone_map + 2 * 4096, "far"));
  gone_map[4096] ^= 1; /* mapping and descriptor are still of one file */
  MUST(pread(gone, text, 1, 4096) == 1 && text[0] == gone_map[4096]);
  MUST(!memcmp(gone_private, "deleted Content", 15));
  MUST(pread(tmpfile_, text, 64, 0) == 11 && !memcmp(text, "never named", 11));
  MUST(!fstat(tmpfile_, &st) && (st.st_mode & 0777) == 0640 && st.st_nlink == 0);
  MUST(fcntl(tmpfile_, F_GETFL) & O_APPEND);
  MUST(direct < 0 || (fcntl(direct, F_GETFL) & O_DIRECT));
  return 1;
}
static int free_deleted(void) {
  MUST(!munmap(gone_map, 3 * 4096) && !munmap(gone_private, 4096) && !close(gone) && !close(gone_copy) && !close(tmpfile_));
  if (direct >= 0) MUST(!close(direct));
  return 1;
}

/* locks of the three kinds. Whether they are held only another process can tell: it is asked by the test. */
static int posix_fd, posix_write_only, flock_fd, ofd_fd;
static int hold_locks(void) {
  struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};
  struct flock tail = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 0};
  MUST((posix_fd = make("posix", O_RDWR, "")) >= 0 && !fcntl(posix_fd, F_SETLK, &all) && !fcntl(posix_fd, F_SETLK, &tail));
  MUST((posix_write_only = make("posix2", O_WRONLY, "")) >= 0 && !fcntl(posix_write_only, F_SETLK, &all));
  MUST((flock_fd = make("flock", O_RDONLY, "")) >= 0 && !flock(flock_fd, LOCK_EX));
  MUST((ofd_fd = make("ofd", O_RDWR, "")) >= 0 && !fcntl(ofd_fd, F_OFD_SETLK, &all));
  return 1;
}
static int check_locks(void) {
  /* the locks are ours: asking for them again succeeds, and a stranger's description conflicts */
  struct flock ask = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 15, .l_len = 1};
  int fd = open(in_folder("ofd"), O_RDWR);
  MUST(fd >= 0 && !fcntl(fd, F_OFD_GETLK, &ask) && ask.l_type == F_WRLCK && ask.l_start == 10 && ask.l_len == 20 && !close(fd));
  MUST((fd = open(in_folder("flock"), O_RDONLY)) >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK && !close(fd));
  ask = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 150, .l_len = 1};
  MUST(!fcntl(posix_fd, F_OFD_GETLK, &ask) && ask.l_type == F_RDLCK && ask.l_start == 100 && ask.l_len == 0);
  ask = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 15, .l_len = 1};
  MUST(!fcntl(posix_write_only, F_OFD_GETLK, &ask) && ask.l_type == F_WRLCK && ask.l_pid == getpid());
  return 1;
}
static int free_locks(void) {
  MUST(!close(posix_fd) && !close(posix_write_only) && !close(flock_fd) && !close(ofd_fd));
  return 1;
}

/* working directory and umask */
static int hold_place(void) {
  MUST((mkdir(in_folder("here"), 0755) == 0 || errno == EEXIST) && !chdir(in_folder("here")));
  umask(027);
  return 1;
}
static int check_place(void) {
  char at[4200];
  mode_t mask = umask(027);
  MUST(mask == 027 && getcwd(at, sizeof at) && !strcmp(at, in_folder("here")));
  return 1;
}
static int free_place(void) {
  umask(022);
  MUST(!chdir("/"));
  return 1;
}

/* a file that the test changes behind the program's back */
static int held = -1;
static int hold_plain(void) {
  MUST((held = make("plain", O_RDWR, "0123456789")) >= 0 && lseek(held, 8, SEEK_SET) == 8);
  return 1;
}
static int check_plain(void) {
  MUST(lseek(held, 0, SEEK_CUR) == 8);
  return 1;
}
static int free_plain(void) {
  MUST(!close(held));
  return 1;
}

int main(int argc, char** argv) {
  static const struct test_case cases[] = {{"modes", hold_modes, check_modes, free_modes},
                                           {"special", hold_special, check_special, free_special},
                                           {"deleted", hold_deleted, check_deleted, free_deleted},
                                           {"locks", hold_locks, check_locks, free_locks},
                                           {"place", hold_place, check_place, free_place},
                                           {"plain", hold_plain, check_plain, free_plain},
                                           {0}};
  return serve("ms_files", cases, argc, argv);
}
