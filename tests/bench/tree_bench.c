/*
 * Reads a tree as programs do and measures how fast. One measurement prints one line, "done bytes seconds".
 *
 *   tree_bench stat|readdir|read|random cold|fresh|warm SECONDS ROOT LIST
 *
 * LIST is a file of NUL-terminated paths below ROOT, in the order in which they are used.
 *
 *   stat     calls fstatat for each path; done: paths
 *   readdir  opens, lists and closes each path; done: entries
 *   read     opens, reads completely and closes each path; done: paths
 *   random   keeps the first files of the list open and reads 4 KiB at random offsets, without read-ahead; done: reads
 *
 * cold: drops the kernel's caches, then processes the list once, for at most SECONDS. fresh: the same without dropping
 * caches; not for random. warm: processes the list once unmeasured, then repeatedly until SECONDS have passed. Any
 * failure exits with 1 and a message.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_BYTES = 128 << 10, PAGE_BYTES = 4096, OPEN_FILES = 64 };

struct work {
  uint64_t done;
  uint64_t bytes;
};

static int root;
static char **paths;
static size_t path_count;
static char buffer[BUFFER_BYTES] __attribute__((aligned(PAGE_BYTES)));

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void drop_caches(void) {
  sync();
  int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
  if (fd < 0 || write(fd, "3", 1) != 1) err(1, "/proc/sys/vm/drop_caches");
  close(fd);
}

static void load(const char *list) {
  char *path = NULL;
  size_t allocated = 0, room = 0;
  FILE *file = fopen(list, "re");
  if (file == NULL) err(1, "%s", list);
  while (getdelim(&path, &allocated, '\0', file) > 0) {
    if (path_count == room) {
      room = room * 2 + 1024;
      paths = realloc(paths, room * sizeof *paths);
      if (paths == NULL) err(1, "%s", list);
    }
    paths[path_count] = strdup(path);
    if (paths[path_count++] == NULL) err(1, "%s", list);
  }
  fclose(file);
  free(path);
  if (path_count == 0) errx(1, "%s: empty", list);
}

static int open_below(const char *path, int flags) {
  int fd = openat(root, path, flags | O_CLOEXEC);
  if (fd < 0) err(1, "%s", path);
  return fd;
}

static void stat_path(const char *path, struct work *work) {
  struct stat info;
  if (fstatat(root, path, &info, AT_SYMLINK_NOFOLLOW) != 0) err(1, "%s", path);
  work->done++;
}

static void list_path(const char *path, struct work *work) {
  DIR *dir = fdopendir(open_below(path, O_RDONLY | O_DIRECTORY));
  if (dir == NULL) err(1, "%s", path);
  while (readdir(dir) != NULL) work->done++;
  closedir(dir);
}

static void read_path(const char *path, struct work *work) {
  int fd = open_below(path, O_RDONLY);
  ssize_t count;
  while ((count = read(fd, buffer, sizeof buffer)) > 0) work->bytes += (uint64_t)count;
  if (count < 0) err(1, "%s", path);
  close(fd);
  work->done++;
}

typedef void action(const char *path, struct work *work);

static double run_each(action *act, bool cold, bool warm, double seconds, struct work *work) {
  if (cold) drop_caches();
  for (size_t i = 0; warm && i < path_count; i++) act(paths[i], work);
  *work = (struct work){0};
  double start = now(), end = start;
  for (size_t i = 0; end - start < seconds; i++) {
    if (i == path_count) {
      if (!warm) break;
      i = 0;
    }
    act(paths[i], work);
    end = now();
  }
  return end - start;
}

static uint64_t random_number(void) { /* xorshift64*, Marsaglia and Vigna */
  static uint64_t state = 88172645463325252u;
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 2685821657736338717u;
}

static double run_random(bool cold, double seconds, struct work *work) {
  size_t files = path_count < OPEN_FILES ? path_count : OPEN_FILES;
  int fds[OPEN_FILES];
  uint64_t pages[OPEN_FILES];
  for (size_t i = 0; i < files; i++) {
    struct stat info;
    if (!cold) read_path(paths[i], work);
    fds[i] = open_below(paths[i], O_RDONLY);
    if (fstat(fds[i], &info) != 0) err(1, "%s", paths[i]);
    pages[i] = (uint64_t)info.st_size / PAGE_BYTES;
    if (pages[i] == 0) errx(1, "%s: less than a page", paths[i]);
    posix_fadvise(fds[i], 0, 0, POSIX_FADV_RANDOM);
  }
  if (cold) drop_caches();
  *work = (struct work){0};
  double start = now(), end = start;
  while (end - start < seconds) {
    size_t i = random_number() % files;
    off_t at = (off_t)(random_number() % pages[i] * PAGE_BYTES);
    if (pread(fds[i], buffer, PAGE_BYTES, at) != PAGE_BYTES) err(1, "%s at %lld", paths[i], (long long)at);
    work->done++;
    work->bytes += PAGE_BYTES;
    end = now();
  }
  return end - start;
}

int main(int argc, char **argv) {
  if (argc != 6) errx(2, "usage: tree_bench stat|readdir|read|random cold|fresh|warm SECONDS ROOT LIST");
  const char *measure = argv[1];
  bool cold = strcmp(argv[2], "cold") == 0, warm = strcmp(argv[2], "warm") == 0;
  double seconds = atof(argv[3]), took;
  struct work work = {0};
  root = open(argv[4], O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) err(1, "%s", argv[4]);
  load(argv[5]);
  if (strcmp(measure, "stat") == 0) took = run_each(stat_path, cold, warm, seconds, &work);
  else if (strcmp(measure, "readdir") == 0) took = run_each(list_path, cold, warm, seconds, &work);
  else if (strcmp(measure, "read") == 0) took = run_each(read_path, cold, warm, seconds, &work);
  else if (strcmp(measure, "random") == 0) took = run_random(cold, seconds, &work);
  else errx(2, "%s: not a measure", measure);
  printf("%llu %llu %.6f\n", (unsigned long long)work.done, (unsigned long long)work.bytes, took);
  return 0;
}
