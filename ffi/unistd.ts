/**
 * Reading, writing, linking, renaming.
 *
 * `read`, `pread` and `write` may transfer less than requested, as in C; functions with Exact or All in their names
 * loop. Calls interrupted by a signal before any transfer are retried. Offsets and lengths are bytes, safe integers.
 *
 * Source: unistd.h and stdio.h of glibc 2.36, linux/fs.h 6.18.
 *
 * @module
 */
import { ERRNO, SyscallError } from "./errno.ts";
import { type DirFd, rawDir } from "./fcntl.ts";
import { type AnyFd, type Fd, rawFd } from "./fd.ts";
import { check, errno, failure, loadLibc, type Name, nameArgument, PATH_MAX } from "./libc.ts";

/** Base of {@link lseek}. DATA and HOLE find the next one at or after the offset (ENXIO: none). */
export const SEEK = { SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 } as const;

/** Flags of {@link renameat2}. WHITEOUT leaves a character device 0/0 at the old name. */
export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;

// One call transfers at most 0x7ffff000 bytes (MAX_RW_COUNT), so results fit an i32.
const libc = loadLibc({
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" }, // ssize_t read(int, void *, size_t)
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "i32" }, // ssize_t pread(int, void *, size_t, off_t)
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" }, // ssize_t write(int, const void *, size_t)
  writeOffThread: { name: "write", parameters: ["i32", "buffer", "usize"], result: "i32", nonblocking: true }, // as write
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "i32" }, // ssize_t pwrite(int, const void *, size_t, off_t)
  ftruncate: { parameters: ["i32", "i64"], result: "i32" }, // int ftruncate(int, off_t)
  fsync: { parameters: ["i32"], result: "i32" }, // int fsync(int)
  fdatasync: { parameters: ["i32"], result: "i32" }, // int fdatasync(int)
  syncfs: { parameters: ["i32"], result: "i32" }, // int syncfs(int)
  syncfsOffThread: { name: "syncfs", parameters: ["i32"], result: "i32", nonblocking: true }, // int syncfs(int)
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" }, // off_t lseek(int, off_t, int)
  linkat: { parameters: ["i32", "buffer", "i32", "buffer", "i32"], result: "i32" }, // int linkat(int, const char *, int, const char *, int)
  symlinkat: { parameters: ["buffer", "i32", "buffer"], result: "i32" }, // int symlinkat(const char *, int, const char *)
  readlinkat: { parameters: ["i32", "buffer", "buffer", "usize"], result: "i32" }, // ssize_t readlinkat(int, const char *, char *, size_t)
  unlinkat: { parameters: ["i32", "buffer", "i32"], result: "i32" }, // int unlinkat(int, const char *, int)
  renameat2: { parameters: ["i32", "buffer", "i32", "buffer", "u32"], result: "i32" }, // int renameat2(int, const char *, int, const char *, unsigned)
  fchownat: { parameters: ["i32", "buffer", "u32", "u32", "i32"], result: "i32" }, // int fchownat(int, const char *, uid_t, gid_t, int)
  fchdir: { parameters: ["i32"], result: "i32" }, // int fchdir(int)
  geteuid: { parameters: [], result: "u32" }, // uid_t geteuid(void)
});

function interrupted(result: number | bigint): boolean {
  return Number(result) === -1 && errno() === ERRNO.EINTR;
}

/** Reads at the file position into `buffer`. Returns the bytes read, 0 at the end. */
export function read(fd: AnyFd, buffer: Uint8Array): number {
  const raw = rawFd(fd);
  for (;;) {
    const count = libc().read(raw, buffer, BigInt(buffer.length));
    if (count >= 0) return count;
    if (errno() !== ERRNO.EINTR) throw failure("read", raw);
  }
}

/** Reads at `offset` into `buffer`. Returns the bytes read, 0 at or past the end. */
export function pread(fd: AnyFd, buffer: Uint8Array, offset: number): number {
  const raw = rawFd(fd);
  for (;;) {
    const count = libc().pread(raw, buffer, BigInt(buffer.length), BigInt(offset));
    if (count >= 0) return count;
    if (errno() !== ERRNO.EINTR) throw failure("read", raw);
  }
}

/**
 * Fills `buffer` from `offset`.
 *
 * @throws {SyscallError} EIO with "end of file at N" when the file ends before the buffer is full
 */
export function preadExact(fd: AnyFd, buffer: Uint8Array, offset: number): void {
  let done = pread(fd, buffer, offset);
  while (done < buffer.length) {
    const count = pread(fd, buffer.subarray(done), offset + done);
    if (count === 0) {
      const wanted = `${buffer.length} bytes at ${offset} asked, end of file at ${offset + done}`;
      throw new SyscallError("read", ERRNO.EIO, `fd ${rawFd(fd)}`, wanted);
    }
    done += count;
  }
}

/** Writes at the file position. Returns the bytes written. */
export function write(fd: AnyFd, bytes: Uint8Array): number {
  const raw = rawFd(fd);
  for (;;) {
    const count = libc().write(raw, bytes, BigInt(bytes.length));
    if (count >= 0) return count;
    if (errno() !== ERRNO.EINTR) throw failure("write", raw);
  }
}

/** Writes all of `bytes` at the file position. */
export function writeAll(fd: AnyFd, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) done += write(fd, done === 0 ? bytes : bytes.subarray(done));
}

/** Like {@link writeAll}, on another thread, because disks block writers. `bytes` must not change until it is done. */
export async function writeAllOffThread(fd: AnyFd, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const done = await libc().writeOffThread(rawFd(fd), bytes, BigInt(bytes.length));
  // errno does not cross threads; continuing the write here reports the error.
  if (done < bytes.length) writeAll(fd, bytes.subarray(Math.max(0, done)));
}

/** Writes all of `bytes` at `offset` without moving the file position. */
export function pwriteAll(fd: AnyFd, bytes: Uint8Array, offset: number): void {
  const raw = rawFd(fd);
  let done = 0;
  while (done < bytes.length) {
    const rest = done === 0 ? bytes : bytes.subarray(done);
    const count = libc().pwrite(raw, rest, BigInt(rest.length), BigInt(offset + done));
    if (count >= 0) done += count;
    else if (errno() !== ERRNO.EINTR) throw failure("write", raw);
  }
}

/** Sets the size; bytes beyond the old end read as zeros. */
export function ftruncate(fd: AnyFd, sizeBytes: number): void {
  const raw = rawFd(fd);
  let result: number;
  do result = libc().ftruncate(raw, BigInt(sizeBytes)); while (interrupted(result));
  check(result, "ftruncate", raw);
}

/** Flushes data and metadata of one file to disk. Do not retry a failed fsync: the pages are marked clean. */
export function fsync(fd: AnyFd): void {
  check(libc().fsync(rawFd(fd)), "fsync", rawFd(fd));
}

/** Like {@link fsync}, but without metadata that reading does not need, such as times. */
export function fdatasync(fd: AnyFd): void {
  check(libc().fdatasync(rawFd(fd)), "fdatasync", rawFd(fd));
}

/** Flushes the whole file system of the descriptor to disk. */
export function syncfs(fd: AnyFd): void {
  check(libc().syncfs(rawFd(fd)), "syncfs", rawFd(fd));
}

/**
 * Like {@link syncfs}, on another thread, because it may take seconds. `fd` must stay open until it is done.
 *
 * @throws {SyscallError} EIO for any error: errno does not cross threads
 */
export async function syncfsOffThread(fd: AnyFd): Promise<void> {
  const raw = rawFd(fd);
  if (await libc().syncfsOffThread(raw) === -1) throw new SyscallError("syncfs", ERRNO.EIO, `fd ${raw}`);
}

/**
 * Moves the file position and returns it.
 *
 * @throws {SyscallError} ENXIO for DATA past the last data, EOVERFLOW when the position is not a safe integer
 */
export function lseek(fd: AnyFd, offset: number, whence: number): number {
  const raw = rawFd(fd);
  const position = check(libc().lseek(raw, BigInt(offset), whence), "lseek", raw);
  if (!Number.isSafeInteger(position)) throw new SyscallError("lseek", ERRNO.EOVERFLOW, `fd ${raw}`);
  return position;
}

/** Creates a hard link. Links a symbolic link itself unless `flags` has AT.SYMLINK_FOLLOW. */
export function linkat(oldDir: DirFd, oldName: Name, newDir: DirFd, newName: Name, flags = 0): void {
  const from = nameArgument(oldName, "link");
  const to = nameArgument(newName, "link", 1);
  check(libc().linkat(rawDir(oldDir), from, rawDir(newDir), to, flags), "link", newName);
}

/** Creates a symbolic link `name` to `target`. */
export function symlinkat(target: Name, dir: DirFd, name: Name): void {
  const content = nameArgument(target, "symlink");
  check(libc().symlinkat(content, rawDir(dir), nameArgument(name, "symlink", 1)), "symlink", name);
}

/** Target of a symbolic link. With the name "", of the link on which `dir` is an O_PATH descriptor. */
export function readlinkat(dir: DirFd, name: Name): Uint8Array<ArrayBuffer> {
  for (let size = PATH_MAX;; size *= 2) {
    const target = new Uint8Array(size);
    const at = rawDir(dir);
    const length = check(libc().readlinkat(at, nameArgument(name, "readlink"), target, BigInt(size)), "readlink", name);
    if (length < size) return target.slice(0, length);
  }
}

/** Removes a name; AT.REMOVEDIR for a directory. */
export function unlinkat(dir: DirFd, name: Name, flags = 0): void {
  check(libc().unlinkat(rawDir(dir), nameArgument(name, "unlink"), flags), "unlink", name);
}

/** Renames atomically; `flags` is {@link RENAME} bits. */
export function renameat2(oldDir: DirFd, oldName: Name, newDir: DirFd, newName: Name, flags: number): void {
  const from = nameArgument(oldName, "rename");
  const to = nameArgument(newName, "rename", 1);
  check(libc().renameat2(rawDir(oldDir), from, rawDir(newDir), to, flags), "rename", oldName);
}

/**
 * Sets the owner. This clears setuid and setgid bits of a regular file, so call chmod afterwards.
 *
 * @param uid 0 to 2^32-2, or -1 to leave it unchanged
 * @param gid as `uid`
 * @param flags AT.SYMLINK_NOFOLLOW for the link itself, AT.EMPTY_PATH for the descriptor `dir`
 */
export function fchownat(dir: DirFd, name: Name, uid: number, gid: number, flags: number): void {
  const result = libc().fchownat(rawDir(dir), nameArgument(name, "chown"), owner(uid), owner(gid), flags);
  check(result, "chown", name);
}

/** Rejects ids that would wrap around to another user, such as root. */
function owner(id: number): number {
  if (!Number.isInteger(id) || id < -1 || id > 0xffff_ffff) throw new RangeError(`Cannot chown: id ${id} is not a u32`);
  return id >>> 0;
}

/** Changes the working directory of the process, or of this thread after `unshare(CLONE.FS)`. */
export function fchdir(fd: Fd): void {
  check(libc().fchdir(fd.raw), "fchdir", fd.raw);
}

/** Effective user id. */
export function geteuid(): number {
  return libc().geteuid();
}
