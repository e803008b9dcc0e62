/**
 * Being the kernel's cache: /dev/cachefiles in on-demand mode.
 *
 * ```
 * EROFS ── fscache ── cachefiles ──► OPEN, READ, CLOSE ──► read of the device
 *             ▲                                               │
 *             └── file in the cache folder ◄── pwrite to the object's descriptor, then "complete"
 * ```
 * One process opens the device; each command is one write. A read never blocks: no message is no bytes. What is written
 * to an object is direct I/O: memory at a page, offset and length whole blocks. What was written counts as cached, by the
 * file's own holes; a read that is completed without data is EIO to its reader.
 *
 * With the last descriptor of the device the cache is dead: what is mounted on it gives ENOBUFS for good.
 *
 * Source: fs/cachefiles/daemon.c and ondemand.c, include/uapi/linux/cachefiles.h, Linux 6.12. On-demand mode is there from
 * 5.19 to 7.1 with CONFIG_CACHEFILES_ONDEMAND, "restore" from 6.8 and 6.1.95.
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

/** Bytes of a block: offsets and lengths of messages and of what is written are multiples of it. */
export const CACHE_BLOCK = 4096;

/** A message is at most this long. CACHEFILES_MSG_MAX_SIZE */
export const MESSAGE_MAX_BYTES = 1024;

/** struct cachefiles_msg: byte offsets. Its data follow. */
export const CACHEFILES_MSG = { SIZE: 16, id: 0, opcode: 4, length: 8, object: 12 } as const;

/** struct cachefiles_open, behind the header: byte offsets in the message. Volume key, then cookie key follow. */
export const CACHEFILES_OPEN = { SIZE: 32, volumeKeySize: 16, cookieKeySize: 20, fd: 24, flags: 28 } as const;

/** struct cachefiles_read, behind the header: byte offsets in the message. */
export const CACHEFILES_READ = { SIZE: 32, offset: 16, length: 24 } as const;

/** enum cachefiles_opcode */
const OPCODE = { OPEN: 0, CLOSE: 1, READ: 2 } as const;

/** _IOW(0x98, 1, int): the message's id, by value. */
const CACHEFILES_IOC_READ_COMPLETE = 0x4004_9801n;

const libc = loadLibc({
  // ssize_t pwrite(int, const void *, size_t, off_t)
  pwriteElsewhere: { name: "pwrite", parameters: ["i32", "u64", "usize", "i64"], result: "i64", nonblocking: true },
  pwrite: { parameters: ["i32", "u64", "usize", "i64"], result: "i64" },
});

/** What the kernel wants. Ids of messages and objects start anew with each cache. */
export type CachefilesMessage =
  /** A file is used: answer with {@link answerOpen} or {@link refuseOpen}. */
  | {
    readonly kind: "open";
    readonly id: number;
    readonly object: number;
    /** "erofs,<domain>", or "erofs,<fsid>" for a mount without one. */
    readonly volume: string;
    /** The fsid, or the tag of a device. */
    readonly cookie: string;
    /** Open on the object, to be owned. */
    readonly fd: number;
  }
  /** A file is not used any more. No answer. */
  | { readonly kind: "close"; readonly id: number; readonly object: number }
  /** A stretch is wanted: write it, then {@link completeRead}. */
  | {
    readonly kind: "read";
    readonly id: number;
    readonly object: number;
    /** Bytes, multiples of {@link CACHE_BLOCK}. */
    readonly offset: number;
    readonly length: number;
  };

/**
 * The device, for the one process that has it.
 *
 * @throws {SyscallError} EBUSY when another has it, ENOENT or ENXIO where the module is not loaded, EPERM without
 * CAP_SYS_ADMIN
 */
export function openCachefiles(): Fd {
  return open(DEVICE, O.RDWR);
}

/**
 * Gives a command: `command(device, "dir", "/var/cache/x")`.
 *
 * @throws {SyscallError} EOPNOTSUPP for one that this kernel does not have, EINVAL, and what the command itself says
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
 * Has the kernel send again what the process that had the device before left unanswered, on new objects.
 *
 * @returns false where the kernel does not know how
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
 * The next message; undefined when there is none.
 *
 * @param buffer at least {@link MESSAGE_MAX_BYTES}
 * @throws {SyscallError} EMFILE and the like: the kernel has given up that message
 */
export function readMessage(device: AnyFd, buffer: Uint8Array): CachefilesMessage | undefined {
  const length = read(device, buffer);
  return length === 0 ? undefined : decodeMessage(buffer.subarray(0, length));
}

/** Takes a message apart. @throws {Error} for what is none */
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

/** Without the NUL that a volume's key ends with. */
function textOf(key: Uint8Array): string {
  const end = key.indexOf(0);
  return new TextDecoder().decode(end < 0 ? key : key.subarray(0, end));
}

/**
 * Lets a file be used.
 *
 * @param sizeBytes of the file; another one than last time drops what is cached of it
 * @returns false when nobody waits for the answer any more
 */
export function answerOpen(device: AnyFd, id: number, sizeBytes: number): boolean {
  return answer(device, `${id},${sizeBytes}`);
}

/** As {@link answerOpen}: there is no such file, or it cannot be had. */
export function refuseOpen(device: AnyFd, id: number, errno: number = ERRNO.ENOENT): boolean {
  return answer(device, `${id},${-errno}`);
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
 * Ends the wait of a reader: it reads the file again, and gets EIO where that has nothing.
 *
 * @returns false when nobody waits any more
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
 * Writes the first `length` bytes of `memory` to an object, on another thread. Descriptor and memory must stay until it
 * is done.
 *
 * @param length and `offset`: multiples of {@link CACHE_BLOCK}
 * @throws {SyscallError} ENOBUFS and ENOSPC when there is no room
 */
export async function writeObject(object: Fd, memory: Mapping, length: number, offset: number): Promise<void> {
  const { raw } = object;
  const count = BigInt(length), at = BigInt(offset), { address } = memory;
  const written = Number(await libc().pwriteElsewhere(raw, address, count, at));
  if (written === length) return;
  // errno stayed on the other thread, and what was written may be written again
  const again = check(libc().pwrite(raw, address, count, at), "write", raw);
  if (again !== length) {
    throw new SyscallError("write", ERRNO.ENOSPC, `fd ${rawFd(raw)}`, `${again} of ${length} bytes`);
  }
}
