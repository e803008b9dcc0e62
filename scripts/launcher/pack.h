/*
 * What this executable carries, as scripts/pack.ts wrote it:
 *
 *   [this ELF][pad][file]…[table][trailer]
 */
#ifndef NYDUS_GD_PACK_H
#define NYDUS_GD_PACK_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sha256.h"
#include "xxh64.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the pack and the digests are written for little-endian hosts");

#define MAGIC "NGDPACK2"
#define MAX_FILES 256

/* Both mirrored by scripts/pack.ts. Little-endian, no padding. */
struct entry {
  uint64_t offset, length;
  uint8_t digest[32]; /* SHA-256 */
  uint64_t xxh64;
  uint32_t mode;
  char name[68];
};
struct trailer {
  char magic[8];
  uint64_t table_offset;
  uint64_t count;
  uint8_t table_digest[32]; /* SHA-256: it vouches for every digest of the table, and names the version */
  uint64_t reserved;
};
_Static_assert(sizeof(struct entry) == 128 && sizeof(struct trailer) == 64, "layout of the pack");

static int self; /* this executable, open for reading */
static struct trailer trailer;
static struct entry table[MAX_FILES];

static uint8_t buffer[256 << 10]; /* a piece of a file that is copied */

/* Reads all of [offset, offset + length). 0 with errno; ENODATA: the file ends before. */
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

/* SHA-256 of [offset, offset + length) of `from`, copying it to `to` unless that is -1. */
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

static sigjmp_buf unreadable;

static void on_bus_error(int number) {
  (void)number;
  siglongjmp(unreadable, 1);
}

/* Not inlined: what the compiler keeps in registers here is not used after a jump. */
__attribute__((noinline)) static uint64_t xxh64_of_bytes(const uint8_t *data, size_t length) {
  struct xxh64 hash;
  size_t stripes = length - length % XXH64_STRIPE;
  xxh64_init(&hash);
  xxh64_stripes(&hash, data, stripes);
  return xxh64_final(&hash, data + stripes, length - stripes);
}

/* 0 with EIO: a block of the mapped file cannot be read, or the file was cut short meanwhile. */
static int xxh64_of_mapped(const uint8_t *data, size_t length, uint64_t *digest) {
  if (sigsetjmp(unreadable, 1) != 0) return errno = EIO, 0;
  *digest = xxh64_of_bytes(data, length);
  return 1;
}

/* XXH64 of the first `length` bytes of `fd`. Mapped: to copy them takes half as long as the digest itself. */
static int xxh64_of(int fd, uint64_t length, uint64_t *digest) {
  struct sigaction before, caught = {.sa_handler = on_bus_error};
  if (length == 0) return xxh64_of_mapped(buffer, 0, digest);
  void *data = mmap(NULL, (size_t)length, PROT_READ, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return 0;
  int done = sigaction(SIGBUS, &caught, &before) == 0 && xxh64_of_mapped(data, (size_t)length, digest);
  sigaction(SIGBUS, &before, NULL);
  munmap(data, (size_t)length);
  return done;
}

/* Reads trailer and table of this executable. 0: they are not as they were written, errno 0 or the reason. */
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

#endif
