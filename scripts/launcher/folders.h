/*
 * The folders of all versions in one cache: <base>/<32 hex digits>, and how long they live.
 *
 * Every running program holds a shared flock on the folder of its version. It is the kernel's, so it ends with the last
 * process that holds it however that ends; it is seen from other namespaces of processes, where /proc would lie; and
 * it outlives exec and is inherited, so that what the program starts from the same folder is covered as well.
 * Other users can lock a folder that they can read: so nothing here waits for a lock without end, and a lock that cannot
 * be had prevents pruning, never a start.
 */
#ifndef NYDUS_GD_FOLDERS_H
#define NYDUS_GD_FOLDERS_H

#include <dirent.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <time.h>

#include "unpack.h"

#define ID_DIGITS 32 /* of the table's digest: the name of a version's folder */
#define UNUSED_SECONDS (30 * 24 * 60 * 60)
#define LOCK_TRIES 50
#define LOCK_PAUSE_NS 20000000 /* pruning takes as long as removing some files */

/* Opens the folder, which is made if it is missing. -1 with errno; EPERM: others may write to it. */
static int open_folder(const char *path) {
  struct stat status;
  if (mkdir(path, 0755) != 0 && errno != EEXIST) return -1;
  int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (dir < 0) return -1;
  if (fstat(dir, &status) != 0 || !is_guarded(&status)) {
    close(dir);
    errno = EPERM;
    return -1;
  }
  return dir;
}

/* Opens a version's folder and keeps it from being pruned while the descriptor or a duplicate is open. */
static int open_in_use(const char *path) {
  for (int tries = 1;; tries++) {
    struct stat ours, named;
    int dir = open_folder(path);
    if (dir < 0) return -1;
    int locked = flock(dir, LOCK_SH | LOCK_NB) == 0;
    /* Pruned between the two calls: the lock is on a folder that is gone. */
    int there = fstat(dir, &ours) == 0 && stat(path, &named) == 0 && ours.st_ino == named.st_ino;
    if ((locked && there) || tries == LOCK_TRIES) {
      futimens(dir, NULL); /* the time of last use; only the owner can, and only the owner prunes */
      return dir;
    }
    close(dir);
    nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
  }
}

/* Opens a folder of `dir`: no link, no mount, so that nothing outside can be removed through it. */
static int open_below(int dir, const char *name) {
  struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
  return (int)syscall(SYS_openat2, dir, name, &how, sizeof how);
}

/* Removes from the folder what can be removed. */
static void empty_folder(DIR *folder) {
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    if (unlinkat(dirfd(folder), name, 0) == 0 || errno != EISDIR) continue;
    int fd = open_below(dirfd(folder), name);
    DIR *inner = fd >= 0 ? fdopendir(fd) : NULL;
    if (inner == NULL) {
      if (fd >= 0) close(fd);
      continue;
    }
    empty_folder(inner);
    closedir(inner);
    unlinkat(dirfd(folder), name, AT_REMOVEDIR);
  }
}

/* When the version was last used: its owner sets the folder's mtime at a start, reading the runtime its atime. */
static int is_unused(int dir) {
  struct stat folder, runtime;
  time_t limit = time(NULL) - UNUSED_SECONDS;
  if (fstat(dir, &folder) != 0 || folder.st_uid != geteuid() || folder.st_mtime >= limit) return 0;
  return fstatat(dir, RUNTIME, &runtime, AT_SYMLINK_NOFOLLOW) != 0 || runtime.st_atime < limit;
}

/*
 * Removes the folders of other versions that nobody uses and nobody has used for UNUSED_SECONDS. `id`: this version.
 * Best effort: what cannot be removed stays a candidate. A folder that was removed in part is repaired by its version.
 */
static void prune(int base, const char *id) {
  int copy = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *all = copy >= 0 ? fdopendir(copy) : NULL;
  if (all == NULL) {
    if (copy >= 0) close(copy);
    return;
  }
  for (struct dirent *entry; (entry = readdir(all)) != NULL;) {
    const char *name = entry->d_name;
    if (strlen(name) != ID_DIGITS || strspn(name, "0123456789abcdef") != ID_DIGITS || strcmp(name, id) == 0) continue;
    int fd = open_below(base, name);
    DIR *version = fd >= 0 && is_unused(fd) && flock(fd, LOCK_EX | LOCK_NB) == 0 && is_unused(fd) ? fdopendir(fd) : NULL;
    if (version == NULL) {
      if (fd >= 0) close(fd);
      continue;
    }
    empty_folder(version);
    unlinkat(base, name, AT_REMOVEDIR);
    closedir(version); /* the lock goes last */
  }
  closedir(all);
}

#endif
