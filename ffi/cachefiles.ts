/**
 * Cache backend of the kernel: /dev/cachefiles in on-demand mode.
 *
 * ```
 * EROFS ── fscache ── cachefiles ──► OPEN, READ, CLOSE ──► read of the device
 *             ▲                                               │
 *             └── file in the cache folder ◄── pwrite to the object's descriptor, then "complete"
 * ```
 * One process opens the device; each command is one write. Reads of the device never block and return no bytes when
 * there is no message. Writes to an object are direct I/O: page-aligned memory, offset and length in whole blocks. The
 * holes of the cache file record what is cached. Completing a read without writing its data gives EIO to its reader.
 *
 * Closing the last descriptor of the device kills the cache: mounts that use it return ENOBUFS from then on.
 *
 * Source: fs/cachefiles/daemon.c and ondemand.c, include/uapi/linux/cachefiles.h, Linux 6.12. On-demand mode exists
 * from 5.19 to 7.1 with CONFIG_CACHEFILES_ONDEMAND, "restore" from 6.8 and 6.1.95.
 *
 * @module
 */
import { ERRNO, isErrno, SyscallError } from "./errno.ts";
import { O, open } from "./fcntl.ts";
import { type AnyFd, Fd, rawFd } from "./fd.ts";
import { check, loadLibc } from "./libc.ts";
import { ioctl } from "./sys_ioctl.ts";
import type { Mapping } from "./sys_mman.ts";
import { read, write } from "./unistd.ts";

const DEVICE = "/dev/cachefiles";

/** Block size in bytes. Offsets and lengths of messages and writes are multiples of it. */
export const CACHE_BLOCK = 4096;

/** Maximum bytes of a message, CACHEFILES_MSG_MAX_SIZE. */
export const MESSAGE_MAX_BYTES = 1024;

/** struct cachefiles_msg: byte offsets. The message's data follow. */
const CACHEFILES_MSG = { SIZE: 16, id: 0, opcode: 4, length: 8, object: 12 } as const;

/** struct cachefiles_open, after the header: byte offsets in the message. Volume key and cookie key follow. */
const CACHEFILES_OPEN = { SIZE: 32, volumeKeySize: 16, cookieKeySize: 20, fd: 24, flags: 28 } as const;

/** struct cachefiles_read, after the header: byte offsets in the message. */
const CACHEFILES_READ = { SIZE: 32, offset: 16, length: 24 } as const;

/** enum cachefiles_opcode */
const OPCODE = { OPEN: 0, CLOSE: 1, READ: 2 } as const;

/** _IOW(0x98, 1, int); the argument is the message's id, by value. */
const CACHEFILES_IOC_READ_COMPLETE = 0x4004_9801n;

const libc = loadLibc({
  // ssize_t pwrite(int, const void *, size_t, off_t)
  pwriteElsewhere: { name: "pwrite", parameters: ["i32", "u64", "usize", "i64"], result: "i64", nonblocking: true },
  pwrite: { parameters: ["i32", "u64", "usize", "i64"], result: "i64" },
});

/** A request from the kernel. Ids of messages and objects start anew with each cache. */
export type CachefilesMessage =
  /** A file is opened: answer with {@link answerOpen} or {@link refuseOpen}. */
  | {
    readonly kind: "open";
    readonly id: number;
    readonly object: number;
    /** "erofs,<domain>", or "erofs,<fsid>" for a mount without one. */
    readonly volume: string;
    /** The fsid, or the tag of a device. */
    readonly cookie: string;
    /** Descriptor of the object. The receiver owns it. */
    readonly fd: number;
  }
  /** A file is no longer used. Needs no answer. */
  | { readonly kind: "close"; readonly id: number; readonly object: number }
  /** A range is read: write it, then call {@link completeRead}. */
  | {
    readonly kind: "read";
    readonly id: number;
    readonly object: number;
    /** Bytes, multiples of {@link CACHE_BLOCK}. */
    readonly offset: number;
    readonly length: number;
  };

/**
 * Opens the device, which only one process can have open.
 *
 * @throws {SyscallError} EBUSY when another process has it open, ENOENT or ENXIO when the module is not loaded, EPERM
 * without CAP_SYS_ADMIN
 */
export function openCachefiles(): Fd {
  return open(DEVICE, O.RDWR);
}

/**
 * Sends a command: `command(device, "dir", "/var/cache/x")`.
 *
 * @throws {SyscallError} EOPNOTSUPP when the kernel lacks the command, EINVAL, and errors of the command itself
 */
export function command(device: AnyFd, name: string, argument = ""): void {
  const text = argument === "" ? name : `${name} ${argument}`;
  try {
    write(device, new TextEncoder().encode(text));
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw new SyscallError("command", error.errno, `cachefiles: ${text}`);
  }
}

/**
 * Makes the kernel resend requests that the previous owner of the device left unanswered, with new objects.
 *
 * @returns false when the kernel does not support it
 */
export function restore(device: AnyFd): boolean {
  try {
    command(device, "restore");
    return true;
  } catch (error) {
    if (isErrno(error, "EOPNOTSUPP", "EINVAL")) return false;
    throw error;
  }
}

/**
 * Reads the next message; undefined when there is none.
 *
 * @param buffer at least {@link MESSAGE_MAX_BYTES}
 * @throws {SyscallError} EMFILE and similar: the kernel has dropped the message
 */
export function readMessage(device: AnyFd, buffer: Uint8Array): CachefilesMessage | undefined {
  const length = read(device, buffer);
  return length === 0 ? undefined : decodeMessage(buffer.subarray(0, length));
}

/** Decodes a message. @throws {Error} when the bytes are not a message */
export function decodeMessage(bytes: Uint8Array): CachefilesMessage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  requireSize(bytes, CACHEFILES_MSG.SIZE);
  requireSize(bytes, view.getUint32(CACHEFILES_MSG.length, true));
  const id = view.getUint32(CACHEFILES_MSG.id, true), object = view.getUint32(CACHEFILES_MSG.object, true);
  const opcode = view.getUint32(CACHEFILES_MSG.opcode, true);
  switch (opcode) {
    case OPCODE.OPEN: {
      requireSize(bytes, CACHEFILES_OPEN.SIZE);
      const cookieAt = CACHEFILES_OPEN.SIZE + view.getUint32(CACHEFILES_OPEN.volumeKeySize, true);
      const end = cookieAt + view.getUint32(CACHEFILES_OPEN.cookieKeySize, true);
      requireSize(bytes, end);
      return {
        kind: "open",
        id,
        object,
        volume: textOf(bytes.subarray(CACHEFILES_OPEN.SIZE, cookieAt)),
        cookie: textOf(bytes.subarray(cookieAt, end)),
        fd: view.getInt32(CACHEFILES_OPEN.fd, true),
      };
    }
    case OPCODE.CLOSE:
      return { kind: "close", id, object };
    case OPCODE.READ: {
      requireSize(bytes, CACHEFILES_READ.SIZE);
      const offset = Number(view.getBigUint64(CACHEFILES_READ.offset, true));
      return { kind: "read", id, object, offset, length: Number(view.getBigUint64(CACHEFILES_READ.length, true)) };
    }
    default:
      throw new Error(`Cannot read cachefiles message: opcode is ${opcode}`);
  }
}

function requireSize(bytes: Uint8Array, size: number): void {
  if (bytes.length < size) throw new Error(`Cannot read cachefiles message: ${bytes.length} of ${size} bytes`);
}

/** Decodes a key, without the NUL that ends a volume key. */
function textOf(key: Uint8Array): string {
  const end = key.indexOf(0);
  return new TextDecoder().decode(end < 0 ? key : key.subarray(0, end));
}

/**
 * Accepts the opening of a file.
 *
 * @param sizeBytes of the file; a size that differs from the previous one discards what is cached of the file
 * @returns false when the request no longer exists
 */
export function answerOpen(device: AnyFd, id: number, sizeBytes: number): boolean {
  return answer(device, `${id},${sizeBytes}`);
}

/** Rejects the opening of a file that does not exist or is unavailable. Returns as {@link answerOpen}. */
export function refuseOpen(device: AnyFd, id: number): boolean {
  return answer(device, `${id},${-ERRNO.ENOENT}`);
}

function answer(device: AnyFd, argument: string): boolean {
  try {
    command(device, "copen", argument);
    return true;
  } catch (error) {
    if (isErrno(error, "EINVAL", "ENOENT")) return false;
    throw error;
  }
}

/**
 * Completes a read request: the reader retries, and gets EIO if the data were not written.
 *
 * @returns false when the request no longer exists
 */
export function completeRead(object: AnyFd, id: number): boolean {
  try {
    ioctl(object, CACHEFILES_IOC_READ_COMPLETE, id);
    return true;
  } catch (error) {
    if (isErrno(error, "EINVAL")) return false;
    throw error;
  }
}

/**
 * Writes the first `length` bytes of `memory` to an object, on another thread. Descriptor and memory must stay valid
 * until the promise settles.
 *
 * @param length and `offset`: multiples of {@link CACHE_BLOCK}
 * @throws {SyscallError} ENOBUFS and ENOSPC when the cache is full
 */
export async function writeObject(object: Fd, memory: Mapping, length: number, offset: number): Promise<void> {
  const { raw } = object;
  const count = BigInt(length), at = BigInt(offset), { address } = memory;
  const written = Number(await libc().pwriteElsewhere(raw, address, count, at));
  if (written === length) return;
  // errno is on the other thread; repeating the write here is safe and reports it.
  const again = check(libc().pwrite(raw, address, count, at), "write", raw);
  if (again !== length) {
    throw new SyscallError("write", ERRNO.ENOSPC, `fd ${rawFd(raw)}`, `${again} of ${length} bytes`);
  }
}
