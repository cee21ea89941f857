/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * A program whose memory changes while it is copied, and which knows what must be in every page:
 *
 *   ms_memory dirty MIB PERCENT STOP    writes PERCENT of MIB each second, in random order. A file STOP.other is the program that
 *                                       goes on with that
 *   ms_memory fork MIB PERCENT STOP     the same, with a child now and then that looks through all of it
 *   ms_memory layout MIB SEED STOP      maps, unmaps, moves, drops and grows memory of every kind, at most MIB
 *   ms_memory turns MIB SEED STOP       memory that grows over where a file was mapped, and gives the place back to the file, in turns
 *   ms_memory exec MIB N STOP           the same program again and again, by exec; N: how often it was
 *
 * It checks each page before it writes it, and all of them when the file STOP is there. Its last line is "ms_memory: OK
 * writes=N", or what was wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, FILE_PAGES = 64, SLOTS = 48, DEEP = 400, MOST = 256 };

static uint64_t state = 88172645463325252u, writes;

static uint64_t rnd(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static void fail(const char* what, uint64_t page) {
  printf("ms_memory: WRONG %s, page %llu after %llu writes\n", what, (unsigned long long)page, (unsigned long long)writes);
  fflush(stdout);
  _exit(3);
}

static uint64_t word(uint64_t id, uint32_t version, int i) {
  return version ? (id * 0x9e3779b97f4a7c15u) ^ ((uint64_t)version << 32) ^ (uint64_t)i * 0x2545f4914f6cdd1du : 0;
}

static void put(volatile uint64_t* page, uint64_t id, uint32_t version) {
  for (int i = 0; i < WORDS; i += 7) page[i] = word(id, version, i);
}

/* What was never written is `base`, or zero. */
static int good(const volatile uint64_t* page, uint64_t id, uint32_t version, const uint64_t* base) {
  for (int i = 0; i < WORDS; ++i) {
    uint64_t want = version && i % 7 == 0 ? word(id, version, i) : base ? base[i] : 0;
    if (page[i] != want) return 0;
  }
  return 1;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- dirty, fork */

static uint64_t* memory;
static uint32_t* versions;
static uint64_t pages;

static void check_all(const char* who) {
  for (uint64_t i = 0; i < pages; ++i)
    if (!good(memory + i * WORDS, i, versions[i], NULL)) fail(who, i);
}

static void look_in_child(void) {
  pid_t child = fork();
  if (child < 0) fail("fork", 0);
  if (child == 0) {
    check_all("in a child");
    memory[rnd() % pages * WORDS] = 1; /* its own copy */
    _exit(0);
  }
  int status = -1;
  while (waitpid(child, &status, 0) < 0) {
  }
  if (status != 0) fail("child's end", (uint64_t)status);
}

static void become_other(char** argv) {
  char other[4096];
  snprintf(other, sizeof other, "%s.other", argv[4]);
  if (strcmp(argv[0], other) == 0 || access(other, X_OK) != 0) return;
  argv[0] = other;
  execv(other, argv);
  fail("exec", 0);
}

static void run_dirty(int forks, uint64_t mib, double percent, char** argv) {
  const char* stop = argv[4];
  pages = (mib << 20) / PAGE;
  memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  versions = calloc(pages, sizeof *versions);
  if (memory == MAP_FAILED || !versions) fail("no memory", 0);
  /* Some pages are never touched, some hold nothing but zeroes, all others something. */
  for (uint64_t i = 0; i < pages; ++i) {
    if (i % 16 == 3) memory[i * WORDS] = 0;
    else if (i % 16 != 5) put(memory + i * WORDS, i, versions[i] = 1);
  }
  printf("ms_memory: ready\n");
  fflush(stdout);
  double last = now(), owed = 0, forked = last;
  while (access(stop, F_OK) != 0) {
    usleep(1000);
    become_other(argv);
    double t = now(), span = t - last > 0.1 ? 0.1 : t - last;
    last = t;
    for (owed += (double)pages * percent / 100 * (span < 0 ? 0 : span); owed >= 1; owed -= 1) {
      uint64_t i = rnd() % pages;
      uint64_t* page = memory + i * WORDS;
      if (!good(page, i, versions[i], NULL)) fail("found", i);
      put(page, i, ++versions[i]);
      ++writes;
    }
    if (forks && t - forked > 0.1) {
      look_in_child();
      forked = now();
    }
  }
  check_all("at the end");
}

/* ---- layout */

struct slot {
  uint64_t* at;
  uint64_t count; /* pages; 0: free */
  int file;       /* a private mapping of `base` */
  uint32_t version[MOST];
  uint64_t id[MOST];
};
static struct slot slots[SLOTS];
static uint64_t base[FILE_PAGES * WORDS]; /* what the file holds */
static char file_name[4096];
static uint64_t budget, used, next_id;
static char* heap_start;
static uint64_t heap_pages;
static uint32_t heap_version[4096];

static void check_slot(struct slot* s, const char* when) {
  for (uint64_t i = 0; i < s->count; ++i)
    if (!good(s->at + i * WORDS, s->id[i], s->version[i], s->file ? base + i * WORDS : NULL)) fail(when, i);
}

static void number(struct slot* s, uint64_t from) {
  for (uint64_t i = from; i < s->count; ++i) s->version[i] = 0, s->id[i] = ++next_id;
}

static void write_some(struct slot* s) {
  for (uint64_t n = rnd() % (s->count + 1); n; --n, ++writes) {
    uint64_t i = rnd() % s->count;
    put(s->at + i * WORDS, s->id[i], ++s->version[i]);
  }
}

static void map_slot(struct slot* s) {
  s->file = rnd() % 4 == 0;
  s->count = s->file ? FILE_PAGES : 1 + rnd() % MOST;
  if (used + s->count > budget) {
    s->count = 0;
    return;
  }
  int fd = s->file ? open(file_name, O_RDONLY) : -1;
  /* Often where something else has just been. */
  s->at = mmap(NULL, s->count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | (s->file ? 0 : MAP_ANONYMOUS), fd, 0);
  if (fd >= 0) close(fd);
  if (s->at == MAP_FAILED) fail("mmap", s->count);
  number(s, 0);
  used += s->count;
}

static void unmap_slot(struct slot* s) {
  check_slot(s, "before munmap");
  if (munmap(s->at, s->count * PAGE) != 0) fail("munmap", 0);
  used -= s->count;
  s->count = 0;
}

static void move_slot(struct slot* s) {
  uint64_t count = s->file ? s->count : 1 + rnd() % MOST, before = s->count;
  void* to = mremap(s->at, before * PAGE, count * PAGE, MREMAP_MAYMOVE);
  /* After a move one piece of memory may be two mappings side by side (doc/supported.md). */
  if (to == MAP_FAILED && errno == EFAULT) return;
  if (to == MAP_FAILED) fail("mremap", count);
  s->at = to;
  if (rnd() % 2) { /* and somewhere else */
    void* place = mmap(NULL, count * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    to = mremap(s->at, count * PAGE, count * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    if (place == MAP_FAILED || (to == MAP_FAILED && errno != EFAULT)) fail("mremap", count);
    if (to == MAP_FAILED) munmap(place, count * PAGE);
    else s->at = to;
  }
  s->count = count;
  used = used - before + count;
  number(s, before < count ? before : count);
}

static void drop_some(struct slot* s) {
  uint64_t from = rnd() % s->count, n = 1 + rnd() % (s->count - from);
  if (madvise(s->at + from * WORDS, n * PAGE, MADV_DONTNEED) != 0) fail("madvise", from);
  for (uint64_t i = from; i < from + n; ++i) s->version[i] = 0;
  if (rnd() % 2 && !good(s->at + from * WORDS, 0, 0, s->file ? base + from * WORDS : NULL)) fail("dropped", from);
}

static void hide(struct slot* s) {
  if (mprotect(s->at, s->count * PAGE, PROT_NONE) != 0) fail("mprotect", 0);
  usleep(rnd() % 3000);
  if (mprotect(s->at, s->count * PAGE, PROT_READ | PROT_WRITE) != 0) fail("mprotect", 0);
}

static void change_heap(void) {
  uint64_t want = rnd() % 4096;
  if (brk(heap_start + want * PAGE) != 0) return; /* something is in the way */
  for (uint64_t i = heap_pages; i < want; ++i) heap_version[i] = 0;
  heap_pages = want;
  for (int n = 0; n < 32 && want; ++n) {
    uint64_t i = rnd() % want;
    uint64_t* page = (uint64_t*)(void*)(heap_start + i * PAGE);
    if (!good(page, i, heap_version[i], NULL)) fail("heap", i);
    put(page, i, ++heap_version[i]);
    ++writes;
  }
}

/* Grows the stack, stays there for a moment, and looks at everything on the way back. */
static void deep(int left) {
  volatile uint64_t mine[WORDS];
  for (int i = 0; i < WORDS; i += 64) mine[i] = (uint64_t)left * 1000003u + (uint64_t)i;
  if (left) deep(left - 1);
  else usleep(2000);
  for (int i = 0; i < WORDS; i += 64)
    if (mine[i] != (uint64_t)left * 1000003u + (uint64_t)i) fail("stack", (uint64_t)left);
}

static void run_layout(uint64_t mib, const char* stop) {
  budget = (mib << 20) / PAGE;
  snprintf(file_name, sizeof file_name, "%s.file", stop);
  for (int i = 0; i < FILE_PAGES * WORDS; ++i) base[i] = rnd();
  int fd = open(file_name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || write(fd, base, FILE_PAGES * PAGE) != FILE_PAGES * PAGE) fail("file", 0);
  close(fd);
  for (int i = 0; i < SLOTS; ++i) map_slot(&slots[i]);
  printf("ms_memory: ready\n");
  fflush(stdout);
  /* From here on brk is ours: malloc has what it needs. */
  heap_start = (char*)(((uintptr_t)sbrk(0) + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
  while (access(stop, F_OK) != 0) {
    struct slot* s = &slots[rnd() % SLOTS];
    int what = (int)(rnd() % 16);
    if (!s->count) map_slot(s);
    else if (what < 2) unmap_slot(s);
    else if (what < 4) move_slot(s);
    else if (what < 6) drop_some(s);
    else if (what == 6) hide(s);
    else write_some(s);
    if (s->count) check_slot(s, "found");
    if (what == 7) change_heap();
    if (what == 8 && rnd() % 8 == 0) deep((int)(rnd() % DEEP));
    usleep(200);
  }
  for (int i = 0; i < SLOTS; ++i) check_slot(&slots[i], "at the end");
  for (uint64_t i = 0; i < heap_pages; ++i)
    if (!good((uint64_t*)(void*)(heap_start + i * PAGE), i, heap_version[i], NULL)) fail("heap at the end", i);
  unlink(file_name);
}

/* ---- turns */

enum { HALF = 16, PLACES = 512 };
struct place {
  uint64_t* at; /* HALF pages of memory; behind them as many again, or the file's, or nothing */
  int file, pages;
  uint32_t version[2 * HALF];
};
static struct place places[PLACES];

static uint64_t id_of(const struct place* p, int page) { return (uint64_t)(p - places) * 64 + (uint64_t)page; }

static void check_place(const struct place* p, const char* when) {
  for (int i = 0; i < p->pages; ++i)
    if (!good(p->at + i * WORDS, id_of(p, i), p->version[i], p->file && i >= HALF ? base + (i - HALF) * WORDS : NULL))
      fail(when, id_of(p, i));
}

static void fill(struct place* p, int from) {
  for (int i = from; i < p->pages; ++i, ++writes)
    if (rnd() % 4) put(p->at + i * WORDS, id_of(p, i), ++p->version[i]);
}

static void turn(struct place* p, int fd) {
  check_place(p, "before its turn");
  uint64_t* behind = p->at + HALF * WORDS;
  if (p->pages > HALF && munmap(behind, HALF * PAGE) != 0) fail("munmap", 0);
  p->file = !p->file;
  if (p->file) {
    if (mmap(behind, HALF * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) != behind) fail("mmap", 0);
    p->pages = 2 * HALF;
  } else {
    void* to = mremap(p->at, HALF * PAGE, 2 * HALF * PAGE, 0);
    if (to == MAP_FAILED && errno != EFAULT) fail("mremap", 0);
    p->pages = to == MAP_FAILED ? HALF : 2 * HALF; /* EFAULT: two mappings side by side (doc/supported.md) */
  }
  for (int i = HALF; i < 2 * HALF; ++i) p->version[i] = 0;
  fill(p, HALF);
}

static void run_turns(uint64_t mib, const char* stop) {
  snprintf(file_name, sizeof file_name, "%s.file", stop);
  for (int i = 0; i < HALF * WORDS; ++i) base[i] = rnd();
  int fd = open(file_name, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || write(fd, base, HALF * PAGE) != HALF * PAGE) fail("file", 0);
  uint64_t count = (mib << 20) / (2 * HALF * PAGE);
  if (count > PLACES) count = PLACES;
  for (uint64_t i = 0; i < count; ++i) {
    /* Nothing beside it. */
    char* room = mmap(NULL, (2 * HALF + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED || munmap(room + PAGE, 2 * HALF * PAGE) != 0) fail("no memory", 0);
    places[i].at = mmap(room + PAGE, HALF * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    places[i].pages = HALF;
    fill(&places[i], 0);
  }
  printf("ms_memory: ready\n");
  fflush(stdout);
  while (access(stop, F_OK) != 0) {
    turn(&places[rnd() % count], fd);
    usleep(500);
  }
  for (uint64_t i = 0; i < count; ++i) check_place(&places[i], "at the end");
  unlink(file_name);
}

/* ---- exec */

static void run_exec(char** argv, uint64_t mib, uint64_t count, const char* stop) {
  pages = (mib << 20) / PAGE;
  memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  versions = calloc(pages, sizeof *versions);
  if (memory == MAP_FAILED || !versions) fail("no memory", 0);
  for (uint64_t i = 0; i < pages; ++i) put(memory + i * WORDS, i + count, versions[i] = 1);
  if (count == 0) {
    printf("ms_memory: ready\n");
    fflush(stdout);
  }
  usleep(rnd() % 2000);
  for (uint64_t i = 0; i < pages; ++i)
    if (!good(memory + i * WORDS, i + count, 1, NULL)) fail("found", i);
  writes = count;
  if (access(stop, F_OK) == 0) return;
  char number[24];
  snprintf(number, sizeof number, "%llu", (unsigned long long)count + 1);
  char* words[] = {argv[0], argv[1], argv[2], number, argv[4], NULL};
  execv(argv[0], words);
  fail("exec", count);
}

int main(int argc, char** argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: ms_memory dirty|fork|layout|turns|exec MIB PERCENT|SEED|N STOP\n");
    return 2;
  }
  uint64_t mib = strtoull(argv[2], NULL, 10);
  int layout = strcmp(argv[1], "layout") == 0;
  if (layout || strcmp(argv[1], "turns") == 0) {
    state += strtoull(argv[3], NULL, 10) * 2654435761u;
    if (layout) run_layout(mib, argv[4]);
    else run_turns(mib, argv[4]);
  } else if (strcmp(argv[1], "exec") == 0) {
    state += strtoull(argv[3], NULL, 10) * 2654435761u;
    run_exec(argv, mib, strtoull(argv[3], NULL, 10), argv[4]);
  } else {
    run_dirty(strcmp(argv[1], "fork") == 0, mib, atof(argv[3]), argv);
  }
  printf("ms_memory: OK writes=%llu\n", (unsigned long long)writes);
  return 0;
}
