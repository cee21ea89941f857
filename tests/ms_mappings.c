/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Memory of all kinds; see resources.h.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "resources.h"

#define PAGE 4096

/* The line of /proc/self/smaps that tells of the mapping at `at`: does it have this flag? */
static int flagged(const void* at, const char* flag) {
  char line[512], wanted[32];
  unsigned long start, end;
  int inside = 0, found = 0;
  FILE* file = fopen("/proc/self/smaps", "r");
  snprintf(wanted, sizeof wanted, " %s ", flag);
  while (file && fgets(line, sizeof line, file)) {
    if (sscanf(line, "%lx-%lx ", &start, &end) == 2) inside = (unsigned long)at >= start && (unsigned long)at < end;
    if (inside && !strncmp(line, "VmFlags:", 8)) found = strstr(line, wanted) != NULL;
  }
  if (file) fclose(file);
  return found;
}

static void fill(unsigned char* at, size_t n, unsigned seed) {
  for (size_t i = 0; i < n; ++i) at[i] = (unsigned char)(seed + i * 7 + i / 251);
}
static int filled(const unsigned char* at, size_t n, unsigned seed) {
  for (size_t i = 0; i < n; ++i)
    if (at[i] != (unsigned char)(seed + i * 7 + i / 251)) return 0;
  return 1;
}

/* the heap in brk and in mmap, guard pages, a deep stack's remains, the environment, a library that was loaded late */
static unsigned char *small, *large, *guarded;
static double (*cosine)(double);
static int hold_heap(void) {
  MUST((small = malloc(1000)) && (large = malloc(9000000)) && sbrk(PAGE) != (void*)-1);
  fill(small, 1000, 1);
  fill(large, 9000000, 2);
  guarded = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(guarded != MAP_FAILED);
  fill(guarded, 3 * PAGE, 3);
  MUST(!mprotect(guarded + PAGE, PAGE, PROT_NONE) && !mprotect(guarded + 2 * PAGE, PAGE, PROT_READ));
  MUST(!setenv("MS_MEMORY_TEST", "a value that was set", 1));
  void* library = dlopen("libm.so.6", RTLD_NOW);
  MUST(library && (cosine = (double (*)(double))dlsym(library, "cos")));
  return 1;
}
static int check_heap(void) {
  MUST(filled(small, 1000, 1) && filled(large, 9000000, 2) && filled(guarded, PAGE, 3));
  int fd = open("/dev/zero", O_RDONLY); /* the kernel says EFAULT where the program would get a signal */
  MUST(fd >= 0 && read(fd, guarded + PAGE, 1) < 0 && errno == EFAULT && read(fd, guarded + 2 * PAGE, 1) < 0 && errno == EFAULT);
  MUST(!mprotect(guarded + PAGE, 2 * PAGE, PROT_READ) && filled(guarded, 3 * PAGE, 3));
  MUST(!mprotect(guarded + PAGE, PAGE, PROT_NONE) && !close(fd));
  MUST(!strcmp(getenv("MS_MEMORY_TEST"), "a value that was set") && cosine(0) == 1);
  void* more = malloc(100000);
  MUST(more && sbrk(PAGE) != (void*)-1);
  free(more);
  return 1;
}
static int free_heap(void) {
  free(small), free(large);
  MUST(!munmap(guarded, 3 * PAGE));
  return 1;
}

/* private and shared mappings of files */
static unsigned char *private_map, *shared_map, *read_map;
static int hold_mappings(void) {
  unsigned char data[4 * PAGE];
  fill(data, sizeof data, 4);
  int fd = open(in_folder("mapped"), O_CREAT | O_TRUNC | O_RDWR, 0644);
  MUST(fd >= 0 && write(fd, data, sizeof data) == sizeof data);
  private_map = mmap(NULL, sizeof data, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  shared_map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE);
  MUST(private_map != MAP_FAILED && shared_map != MAP_FAILED && !close(fd));
  MUST((fd = open(in_folder("mapped"), O_RDONLY)) >= 0);
  MUST((read_map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 3 * PAGE)) != MAP_FAILED && !close(fd));
  private_map[5] = 'p';
  shared_map[PAGE + 5] = 's';
  return 1;
}
static int check_mappings(void) {
  unsigned char data[4 * PAGE], one;
  fill(data, sizeof data, 4);
  int fd = open(in_folder("mapped"), O_RDONLY);
  MUST(fd >= 0 && private_map[5] == 'p' && private_map[6] == data[6] && shared_map[PAGE + 5] == 's' && shared_map[0] == data[PAGE]);
  MUST(read_map[1] == data[3 * PAGE + 1]);
  MUST(pread(fd, &one, 1, 2 * PAGE + 5) == 1 && one == 's' && pread(fd, &one, 1, 5) == 1 && one == data[5]);
  shared_map[7] ^= 1; /* still the file, not a copy */
  MUST(pread(fd, &one, 1, PAGE + 7) == 1 && one == shared_map[7] && private_map[PAGE + 7] == one && !close(fd));
  MUST(flagged(shared_map, "sh"));
  return 1;
}
static int free_mappings(void) {
  MUST(!munmap(private_map, 4 * PAGE) && !munmap(shared_map, 2 * PAGE) && !munmap(read_map, PAGE));
  return 1;
}

/* shared anonymous memory, memfds with seals, one mapped twice */
static unsigned char *anonymous, *view, *second_view, *sealed_view;
static int memory_fd, sealed_fd, plain_fd;
static int hold_shared(void) {
  anonymous = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  MUST(anonymous != MAP_FAILED);
  fill(anonymous, 3 * PAGE, 5);
  MUST(!mprotect(anonymous + PAGE, PAGE, PROT_READ));
  MUST((memory_fd = memfd_create("ms-memory", MFD_ALLOW_SEALING)) >= 0 && !ftruncate(memory_fd, 4 * PAGE));
  view = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
  second_view = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 2 * PAGE);
  MUST(view != MAP_FAILED && second_view != MAP_FAILED && !fcntl(memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
  fill(view, 4 * PAGE, 6);
  MUST((sealed_fd = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC)) >= 0 && write(sealed_fd, "constant", 8) == 8);
  MUST(!fcntl(sealed_fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", sealed_fd);
  int fd = open(path, O_RDONLY);
  MUST(fd >= 0 && (sealed_view = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0)) != MAP_FAILED && !close(fd));
  MUST((plain_fd = memfd_create("plain", 0)) >= 0 && write(plain_fd, "offset", 6) == 6 && lseek(plain_fd, 3, SEEK_SET) == 3);
  return 1;
}
static int check_shared(void) {
  unsigned char one;
  char name[256] = "", path[64];
  struct stat st;
  MUST(filled(anonymous, 3 * PAGE, 5) && flagged(anonymous, "sh"));
  MUST(filled(view, 4 * PAGE, 6));
  MUST(second_view[9] == view[2 * PAGE + 9] && pread(memory_fd, &one, 1, 2 * PAGE + 9) == 1 && one == view[2 * PAGE + 9]);
  second_view[9] ^= 1;
  MUST(second_view[9] == view[2 * PAGE + 9] && pread(memory_fd, &one, 1, 2 * PAGE + 9) == 1 && one == second_view[9]);
  second_view[9] ^= 1;
  MUST(fcntl(memory_fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW) && ftruncate(memory_fd, 0) != 0);
  MUST(!fstat(memory_fd, &st) && st.st_size == 4 * PAGE);
  snprintf(path, sizeof path, "/proc/self/fd/%d", memory_fd);
  MUST(readlink(path, name, sizeof name - 1) > 0 && !strcmp(name, "/memfd:ms-memory (deleted)"));
  MUST(fcntl(sealed_fd, F_GET_SEALS) == (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
  MUST(pwrite(sealed_fd, "x", 1, 0) < 0 && !memcmp(sealed_view, "constant", 8) && fcntl(sealed_fd, F_GETFD) == FD_CLOEXEC);
  MUST(lseek(plain_fd, 0, SEEK_CUR) == 3 && fcntl(plain_fd, F_GET_SEALS) == F_SEAL_SEAL);
  return 1;
}
static int free_shared(void) {
  MUST(!munmap(anonymous, 3 * PAGE) && !munmap(view, 4 * PAGE) && !munmap(second_view, PAGE) && !munmap(sealed_view, PAGE));
  MUST(!close(memory_fd) && !close(sealed_fd) && !close(plain_fd));
  return 1;
}

/* what the kernel was told about memory */
static unsigned char *advised, *locked, *growing;
#define MIB (1 << 20)
static int hold_marks(void) {
  advised = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  locked = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  growing = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
  MUST(advised != MAP_FAILED && locked != MAP_FAILED && growing != MAP_FAILED);
  fill(advised, 8 * MIB, 7), fill(locked, 8 * PAGE, 8), fill(growing, 16 * PAGE, 9);
  MUST(!madvise(advised, 2 * MIB, MADV_HUGEPAGE) && !madvise(advised + 2 * MIB, 2 * MIB, MADV_NOHUGEPAGE));
  MUST(!madvise(advised + 4 * MIB, 2 * MIB, MADV_DONTFORK) && !madvise(advised + 6 * MIB, 2 * MIB, MADV_DONTDUMP));
  MUST(!mlock(locked, 8 * PAGE));
  return 1;
}
static int check_marks(void) {
  MUST(filled(advised, 8 * MIB, 7) && filled(locked, 8 * PAGE, 8) && filled(growing, 16 * PAGE, 9));
  MUST(flagged(advised, "hg") && !flagged(advised, "dc") && flagged(advised + 2 * MIB, "nh") && !flagged(advised + 2 * MIB, "hg"));
  MUST(flagged(advised + 4 * MIB, "dc") && flagged(advised + 6 * MIB, "dd") && !flagged(advised + 6 * MIB, "dc"));
  MUST(flagged(locked, "lo") && !flagged(advised, "lo") && flagged(growing, "gd"));
  return 1;
}
static int free_marks(void) {
  MUST(!munmap(advised, 8 * MIB) && !munmap(locked, 8 * PAGE) && !munmap(growing, 16 * PAGE));
  return 1;
}

/* huge pages; one of the three is never touched */
static unsigned char* huge;
static int hold_huge(void) {
  huge = mmap(NULL, 6 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  MUST(huge != MAP_FAILED);
  fill(huge, 2 * MIB, 10), fill(huge + 4 * MIB, 1000, 11);
  return 1;
}
static int check_huge(void) {
  MUST(filled(huge, 2 * MIB, 10) && filled(huge + 4 * MIB, 1000, 11) && flagged(huge, "ht"));
  return 1;
}
static int free_huge(void) {
  MUST(!munmap(huge, 6 * MIB));
  return 1;
}

int main(int argc, char** argv) {
  static const struct test_case cases[] = {{"heap", hold_heap, check_heap, free_heap},
                                           {"mappings", hold_mappings, check_mappings, free_mappings},
                                           {"shared", hold_shared, check_shared, free_shared},
                                           {"marks", hold_marks, check_marks, free_marks},
                                           {"huge", hold_huge, check_huge, free_huge},
                                           {0}};
  return serve("ms_mappings", cases, argc, argv);
}
