/**
 * Directory listings.
 *
 * Source: linux/dirent.h (struct linux_dirent64) and dirent.h, Linux 6.18, glibc >= 2.30.
 *
 * @module
 */
import type { Fd } from "./fd.ts";
import { check, loadLibc } from "./libc.ts";
import { lseek, SEEK } from "./unistd.ts";

/** d_type of an entry. UNKNOWN: the directory does not record it, use stat. */
export const DT = { UNKNOWN: 0, FIFO: 1, CHR: 2, DIR: 4, BLK: 6, REG: 8, LNK: 10, SOCK: 12, WHT: 14 } as const;

/** One directory entry. */
export interface DirectoryEntry {
  name: Uint8Array<ArrayBuffer>;
  /** A number up to 2^53-1, a bigint above. For a mount point: the inode below the mount. */
  ino: number | bigint;
  /** One of {@link DT}. */
  type: number;
}

/** struct linux_dirent64: byte offsets. The name ends with a NUL, the record with padding. */
const LINUX_DIRENT64 = { ino: 0, off: 8, reclen: 16, type: 18, name: 19 } as const;

const BUFFER_BYTES = 32 * 1024;
const DOT = 0x2e;

const libc = loadLibc({
  getdents64: { parameters: ["i32", "buffer", "usize"], result: "i32" }, // ssize_t getdents64(int, void *, size_t)
});

/**
 * Yields the entries of an open directory from its start, without "." and "..", in file system order.
 *
 * The position belongs to the open file: only one listing of a descriptor at a time. Entries added or removed during
 * the listing may or may not appear.
 */
export function* readDirectory(fd: Fd): Generator<DirectoryEntry> {
  lseek(fd, 0, SEEK.SET);
  const buffer = new Uint8Array(BUFFER_BYTES);
  for (;;) {
    const length = check(libc().getdents64(fd.raw, buffer, BigInt(buffer.length)), "readdir", fd.raw);
    if (length === 0) return;
    yield* decodeDirents(buffer.subarray(0, length));
  }
}

/** Decodes the entries of one getdents64(2) buffer, without "." and "..". */
export function* decodeDirents(records: Uint8Array<ArrayBuffer>): Generator<DirectoryEntry> {
  const view = new DataView(records.buffer, records.byteOffset, records.length);
  for (let at = 0; at < records.length;) {
    const size = view.getUint16(at + LINUX_DIRENT64.reclen, true);
    if (size <= LINUX_DIRENT64.name) throw new RangeError(`Cannot read directory: record of ${size} bytes`);
    const start = at + LINUX_DIRENT64.name;
    const end = records.indexOf(0, start);
    if (!isDotOrDotDot(records, start, end)) {
      const low = view.getUint32(at + LINUX_DIRENT64.ino, true);
      const high = view.getUint32(at + LINUX_DIRENT64.ino + 4, true);
      const ino = high < 1 << 21 ? low + high * 0x1_0000_0000 : view.getBigUint64(at + LINUX_DIRENT64.ino, true);
      yield { name: records.slice(start, end), ino, type: view.getUint8(at + LINUX_DIRENT64.type) };
    }
    at += size;
  }
}

function isDotOrDotDot(bytes: Uint8Array, start: number, end: number): boolean {
  if (bytes[start] !== DOT) return false;
  return end - start === 1 || (end - start === 2 && bytes[start + 1] === DOT);
}
