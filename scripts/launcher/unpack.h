/* One version's folder: whether its files are what the executable carries, and unpacking those that are not. */
#ifndef NYDUS_GD_UNPACK_H
#define NYDUS_GD_UNPACK_H

#include <sys/file.h>

#include "pack.h"
#include "report.h"

/* Owned by root or by us, and nobody else may write. */
static int is_guarded(const struct stat *status) {
  return (status->st_uid == 0 || status->st_uid == geteuid()) && (status->st_mode & 022) == 0;
}

static int has_digest(int fd, const struct entry *file) {
  uint8_t digest[32];
  return digest_of(fd, 0, file->length, -1, digest) && memcmp(digest, file->digest, sizeof digest) == 0;
}

static int has_xxh64(int fd, const struct entry *file) {
  uint64_t digest;
  return xxh64_of(fd, file->length, &digest) && digest == file->xxh64;
}

/* Whether `file` lies in `dir` whole. What cannot be read is not sound. */
static int is_sound(int dir, const struct entry *file, int (*matches)(int fd, const struct entry *)) {
  struct stat status;
  int fd = openat(dir, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return 0;
  int sound = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && is_guarded(&status) &&
              (status.st_mode & 07777) == file->mode && (uint64_t)status.st_size == file->length && matches(fd, file);
  close(fd);
  return sound;
}

/* The check of every start: the whole content of every file, by the fast digest. */
static int is_ready(int dir) {
  int ready = 1;
  for (size_t i = 0; ready && i < trailer.count; i++) ready = is_sound(dir, &table[i], has_xxh64);
  return ready;
}

/* Puts `file` into `dir`, durable before it has its name. The caller holds the lock, so that ".new" is ours. */
static int unpack(int dir, const struct entry *file) {
  uint8_t digest[32];
  if (unlinkat(dir, ".new", 0) != 0 && errno != ENOENT) return 0;
  int fd = openat(dir, ".new", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return 0;
  int done = digest_of(self, file->offset, file->length, fd, digest);
  if (done && memcmp(digest, file->digest, sizeof digest) != 0) {
    unlinkat(dir, ".new", 0);
    errno = 0;
    exit(fail("get the file again", "unpack %s: this executable is damaged", file->name));
  }
  done = done && fchmod(fd, file->mode) == 0 && fsync(fd) == 0;
  if (close(fd) != 0) done = 0;
  return done && renameat(dir, ".new", dir, file->name) == 0;
}

/* Unpacks what is not sound. 0 with errno. */
static int make_ready(int dir) {
  /* A file, not the folder: only its owner can open it, so nobody else can make us wait. */
  int lock = openat(dir, ".lock", O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock < 0) return 0;
  int done = flock(lock, LOCK_EX) == 0;
  if (done && !is_ready(dir)) { /* else another start was faster */
    for (size_t i = 0; done && i < trailer.count; i++)
      done = is_sound(dir, &table[i], has_digest) || unpack(dir, &table[i]);
    done = done && fsync(dir) == 0;
  }
  int saved = errno;
  close(lock);
  errno = saved;
  return done;
}

#endif
