/*
 * The launcher of nydus-gd: one executable that carries the Deno runtime and the bundled program.
 *
 *   [this ELF][pad][deno][main.js][…_worker.js …][table][trailer]       see pack.ts, which writes it
 *
 * The files are unpacked once into <base>/<digest of the table>, where <base> is /var/cache/nydus-gd, else
 * $XDG_CACHE_HOME/nydus-gd, else ~/.cache/nydus-gd. Then `deno run main.js …` takes this process over, so that the pid,
 * the descriptors and the signals of `nydus-gd` are those of the program.
 *
 * What is checked, and when:
 *  - Every file is checked against its SHA-256 while it is unpacked, synced, and renamed into place.
 *  - At every start the program (every file but the runtime) is read whole and checked against its SHA-256.
 *  - The runtime is 95 MB: SHA-256 of it costs more than the whole start may take. When its digest has been checked, its
 *    inode number, size, mtime and ctime (in nanoseconds) are noted in the file `checked`. At every start they are
 *    compared; any write, truncation, replacement or change of mode moves the ctime, and then the digest is checked
 *    again. So a change through the file system is seen at the next start; decay of the medium under an unchanged inode
 *    is not.
 *  - Folders and files must belong to root or to the user, and be writable by the owner only.
 * A file that is not as it must be is unpacked again. Who can write the owner's files can also write `checked`: this
 * guards against damage and against other users, not against the owner.
 *
 * Built with -DINSTALLED_DIR="…" the files lie there, put and guarded by the package manager, and nothing is unpacked.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sha256.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the pack and SHA-256 are written for little-endian hosts");

#define RUNTIME "deno"
#define PROGRAM "main.js"
#define SYSTEM_BASE "/var/cache/nydus-gd"

static int fail(const char *hint, const char *format, ...) {
  int saved = errno;
  va_list arguments;
  va_start(arguments, format);
  fputs("nydus-gd: cannot ", stderr);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, "%s%s\n", saved ? ": " : "", saved ? strerror(saved) : "");
  if (hint != NULL) fprintf(stderr, "hint: %s\n", hint);
  return 1;
}

/* Text in memory of its own, which lives as long as this program. */
static char *text(const char *format, ...) {
  char *made = NULL;
  va_list arguments;
  va_start(arguments, format);
  int length = vasprintf(&made, format, arguments);
  va_end(arguments);
  if (length < 0) exit(fail(NULL, "start"));
  return made;
}

/* The user's own cache folder; NULL: the user has none. */
static const char *user_base(void) {
  const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (xdg != NULL && xdg[0] == '/') return text("%s/nydus-gd", xdg);
  if (home != NULL && home[0] == '/') return text("%s/.cache/nydus-gd", home);
  return NULL;
}

/* Becomes the program that lies in `dir`. Returns only on failure, with errno. `cache`: Deno's folder for compiled code. */
static void start(const char *dir, const char *cache, int argc, char **argv) {
  static char *const OPTIONS[] = {"run",       "--allow-all", "--quiet",  "--no-config",
                                  "--no-lock", "--no-remote", "--no-npm", "--no-prompt"};
  const size_t options = sizeof OPTIONS / sizeof *OPTIONS;
  char **arguments = calloc((size_t)argc + options + 3, sizeof *arguments);
  if (arguments == NULL) return;
  size_t n = 0;
  arguments[n++] = argc > 0 ? argv[0] : "nydus-gd";
  for (size_t i = 0; i < options; i++) arguments[n++] = OPTIONS[i];
  arguments[n++] = text("%s/" PROGRAM, dir);
  for (int i = 1; i < argc; i++) arguments[n++] = argv[i];
  setenv("DENO_DIR", cache, 1);
  setenv("DENO_NO_UPDATE_CHECK", "1", 1);
  unsetenv("NODE_OPTIONS"); /* meant for another program: it would change this one */
  execv(text("%s/" RUNTIME, dir), arguments);
}

#ifdef INSTALLED_DIR

int main(int argc, char **argv) {
  const char *base = geteuid() == 0 ? SYSTEM_BASE : user_base();
  /* A folder that cannot be written is no obstacle: Deno goes on without the cache. */
  start(INSTALLED_DIR, text("%s/deno-dir", base != NULL ? base : INSTALLED_DIR), argc, argv);
  return fail("reinstall the package nydus-gd", "start " INSTALLED_DIR "/" RUNTIME);
}

#else

#define MAGIC "NGDPACK1"
#define MAX_FILES 256
#define CHECKED "checked"
#define HEX_DIGITS 32 /* of the table's digest, as the folder's name */

/* Both mirrored by scripts/pack.ts. Little-endian, no padding. */
struct entry {
  uint64_t offset, length;
  uint8_t digest[32];
  uint32_t mode;
  char name[76];
};
struct trailer {
  char magic[8];
  uint64_t table_offset;
  uint64_t count;
  uint8_t table_digest[32];
  uint64_t reserved;
};
_Static_assert(sizeof(struct entry) == 128 && sizeof(struct trailer) == 64, "layout of the pack");

/* What is noted of a file when its digest has been checked. */
struct note {
  uint64_t inode, size;
  int64_t mtime_sec, mtime_nsec, ctime_sec, ctime_nsec;
};

static int self;
static struct trailer trailer;
static struct entry table[MAX_FILES];
static uint8_t buffer[1 << 20];

static int read_at(int fd, void *to, size_t length, uint64_t offset) {
  for (size_t done = 0; done < length;) {
    ssize_t n = pread(fd, (char *)to + done, length - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return 0;
    if (n == 0) return errno = ENODATA, 0;
    done += (size_t)n;
  }
  return 1;
}

static int write_all(int fd, const void *from, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t n = write(fd, (const char *)from + done, length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return 0;
    done += (size_t)n;
  }
  return 1;
}

/* Hashes [offset, offset + length) of `from`, copying it to `to` unless that is -1. */
static int digest_of(int from, uint64_t offset, uint64_t length, int to, uint8_t digest[32]) {
  struct sha256 hash;
  sha256_init(&hash);
  while (length > 0) {
    size_t part = length < sizeof buffer ? (size_t)length : sizeof buffer;
    if (!read_at(from, buffer, part, offset)) return 0;
    if (to >= 0 && !write_all(to, buffer, part)) return 0;
    sha256_update(&hash, buffer, part);
    offset += part;
    length -= part;
  }
  sha256_final(&hash, digest);
  return 1;
}

/* Reads trailer and table of this executable. */
static int read_table(void) {
  struct stat status;
  uint8_t digest[32];
  errno = 0;
  self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (self < 0 || fstat(self, &status) != 0) return 0;
  uint64_t size = (uint64_t)status.st_size;
  if (size < sizeof trailer || !read_at(self, &trailer, sizeof trailer, size - sizeof trailer)) return 0;
  if (memcmp(trailer.magic, MAGIC, 8) != 0 || trailer.count == 0 || trailer.count > MAX_FILES ||
      trailer.table_offset != size - sizeof trailer - trailer.count * sizeof *table)
    return 0;
  if (!digest_of(self, trailer.table_offset, trailer.count * sizeof *table, -1, digest) ||
      memcmp(digest, trailer.table_digest, 32) != 0)
    return 0;
  return read_at(self, table, trailer.count * sizeof *table, trailer.table_offset);
}

/* Owned by root or by us, and nobody else may write. */
static int is_guarded(const struct stat *status) {
  return (status->st_uid == 0 || status->st_uid == geteuid()) && (status->st_mode & 022) == 0;
}

static struct note note_of(const struct stat *status) {
  return (struct note){status->st_ino,          (uint64_t)status->st_size, status->st_mtim.tv_sec,
                       status->st_mtim.tv_nsec, status->st_ctim.tv_sec,    status->st_ctim.tv_nsec};
}

/* Whether file `i` is what the table says. `noted`: the note of an earlier check of the digest, or NULL. */
static int is_sound(int dir, size_t i, const struct note *noted, struct note *now) {
  const struct entry *file = &table[i];
  struct stat status;
  uint8_t digest[32];
  int fd = openat(dir, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return 0;
  int sound = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && is_guarded(&status) &&
              (status.st_mode & 07777) == file->mode && (uint64_t)status.st_size == file->length;
  if (sound) {
    *now = note_of(&status);
    int known = noted != NULL && strcmp(file->name, RUNTIME) == 0 && memcmp(noted, now, sizeof *now) == 0;
    sound = known || (digest_of(fd, 0, file->length, -1, digest) && memcmp(digest, file->digest, 32) == 0);
  }
  close(fd);
  return sound;
}

/* Whether every file in `dir` is sound and the runtime is the one that was noted. */
static int is_ready(int dir) {
  struct note notes[MAX_FILES], now;
  struct stat status;
  int fd = openat(dir, CHECKED, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return 0;
  int ready = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && is_guarded(&status) &&
              (uint64_t)status.st_size == trailer.count * sizeof *notes &&
              read_at(fd, notes, trailer.count * sizeof *notes, 0);
  close(fd);
  for (size_t i = 0; ready && i < trailer.count; i++) {
    ready = is_sound(dir, i, &notes[i], &now) && memcmp(&notes[i], &now, sizeof now) == 0;
  }
  return ready;
}

/* A file under construction in `dir`; the caller holds the lock, so that the name is ours. */
static int open_temporary(int dir) {
  if (unlinkat(dir, ".new", 0) != 0 && errno != ENOENT) return -1;
  return openat(dir, ".new", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Makes it durable and gives it its name. */
static int finish(int dir, int fd, mode_t mode, const char *name) {
  int done = fchmod(fd, mode) == 0 && fsync(fd) == 0;
  if (close(fd) != 0) done = 0;
  return done && renameat(dir, ".new", dir, name) == 0;
}

/* Puts `file` into `dir`, and notes it: its digest is checked on the way. */
static int unpack(int dir, const struct entry *file, struct note *note) {
  struct stat status;
  uint8_t digest[32];
  int fd = open_temporary(dir);
  if (fd < 0) return 0;
  if (!digest_of(self, file->offset, file->length, fd, digest)) return close(fd), 0;
  if (memcmp(digest, file->digest, 32) != 0) {
    close(fd);
    unlinkat(dir, ".new", 0);
    errno = 0;
    exit(fail("get the file again", "unpack %s: this executable is damaged", file->name));
  }
  if (!finish(dir, fd, file->mode, file->name) || fstatat(dir, file->name, &status, AT_SYMLINK_NOFOLLOW) != 0) return 0;
  *note = note_of(&status);
  return 1;
}

/* Unpacks what is not sound, and notes the rest. */
static int make_ready(int dir) {
  struct note notes[MAX_FILES] = {0};
  /* A file, not the folder: only its owner can open it, so nobody else can hold the lock. */
  int lock = openat(dir, ".lock", O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock < 0) return 0;
  int done = flock(lock, LOCK_EX) == 0;
  if (done && !is_ready(dir)) {
    for (size_t i = 0; done && i < trailer.count; i++) {
      if (!is_sound(dir, i, NULL, &notes[i])) done = unpack(dir, &table[i], &notes[i]);
    }
    int fd = done ? open_temporary(dir) : -1;
    done = fd >= 0 && write_all(fd, notes, trailer.count * sizeof *notes) && finish(dir, fd, 0644, CHECKED) &&
           fsync(dir) == 0;
  }
  int saved = errno;
  close(lock);
  errno = saved;
  return done;
}

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

/* Starts the program from `base`. Returns when it cannot, with errno. */
static void start_from(const char *base, int argc, char **argv) {
  char id[HEX_DIGITS + 1];
  struct stat status;
  for (int i = 0; i < HEX_DIGITS / 2; i++) snprintf(id + 2 * i, 3, "%02x", trailer.table_digest[i]);
  int base_dir = open_folder(base);
  if (base_dir < 0) return;
  close(base_dir);
  const char *path = text("%s/%s", base, id);
  int dir = open_folder(path);
  if (dir < 0) return;
  if (is_ready(dir) || make_ready(dir)) {
    /* Compiled code is only taken from a folder of our own. */
    const char *own = fstat(dir, &status) == 0 && status.st_uid == geteuid() ? path : user_base();
    start(path, text("%s/deno-dir", own != NULL ? own : path), argc, argv);
  }
  int saved = errno;
  close(dir);
  errno = saved;
}

int main(int argc, char **argv) {
  if (!read_table()) return fail("get the file again", "read the program inside this executable");
  start_from(SYSTEM_BASE, argc, argv);
  const char *base = user_base();
  if (base == NULL) return fail("set XDG_CACHE_HOME to a folder of yours", "unpack into " SYSTEM_BASE);
  char *parent = text("%s", base);
  *strrchr(parent, '/') = 0;
  mkdir(parent, 0700); /* missing on a new account; whether it is there now is seen next */
  start_from(base, argc, argv);
  return fail("set XDG_CACHE_HOME to a folder of yours that allows execution", "unpack into %s", base);
}

#endif
