/**
 * Intercepts reads of files: pre-content events of fanotify.
 *
 * ```
 * reader ── read(2), fault, readahead of a marked file ──► event { fd, offset, count } ──► respond: allow, or an errno
 *    └───────────────────── waits ────────────────────────────────────────────────────────────┘
 * ```
 * A descriptor raises events only if its file was marked when it was opened. Descriptors opened before the first mark,
 * or through a mount that the group ignores, never do.
 *
 * Fail-open: when the last descriptor of the group is closed, the kernel lets every reader through. The descriptor of
 * an event belongs to the process that read the event. Responses refer to events by that number, whichever process
 * writes them.
 *
 * Source: linux/fanotify.h, fanotify_init(2), fanotify_mark(2), Linux 6.18. Pre-content events exist from 6.14, on
 * ext4, xfs and btrfs.
 *
 * @module
 */
import { isErrno } from "./errno.ts";
import { O } from "./fcntl.ts";
import { type AnyFd, Fd, rawFd } from "./fd.ts";
import { check, loadLibc, nameArgument } from "./libc.ts";
import { write } from "./unistd.ts";

/** Flags of fanotify_init(2). */
const FAN_INIT = { CLOEXEC: 0x1, NONBLOCK: 0x2, CLASS_PRE_CONTENT: 0x8, UNLIMITED_QUEUE: 0x10, UNLIMITED_MARKS: 0x20 };

/** Flags of fanotify_mark(2). */
const FAN_MARK = { ADD: 0x1, REMOVE: 0x2, MOUNT: 0x10, IGNORED_SURV_MODIFY: 0x40, IGNORE: 0x400 };

/** The only event requested: data are about to be read or changed. */
const FAN_PRE_ACCESS = 0x0010_0000;

/** struct fanotify_event_metadata: byte offsets. Info records follow. */
const EVENT_METADATA = { SIZE: 24, length: 0, version: 4, metadataLength: 6, mask: 8, fd: 16, pid: 20 } as const;

/** struct fanotify_event_info_range: byte offsets. */
const EVENT_RANGE = { SIZE: 24, type: 0, length: 2, offset: 8, count: 16 } as const;

const FANOTIFY_METADATA_VERSION = 3;
const FAN_EVENT_INFO_TYPE_RANGE = 6;
const FAN_ALLOW = 1;
const FAN_DENY = 2;
/** Position of the errno in a FAN_DENY response. */
const FAN_ERRNO_SHIFT = 24;

const libc = loadLibc({
  fanotify_init: { parameters: ["u32", "u32"], result: "i32" }, // int fanotify_init(unsigned flags, unsigned event_f_flags)
  // int fanotify_mark(int fanotify_fd, unsigned flags, uint64_t mask, int dirfd, const char *pathname)
  fanotify_mark: { parameters: ["i32", "u32", "u64", "i32", "buffer"], result: "i32" },
});

/** An event. A reader waits until it is answered. */
export interface FanotifyEvent {
  /** Descriptor of the file, which the receiver must close; -1 if the kernel could not open it. */
  readonly fd: number;
  /** Process id of the reader; 0 for the kernel. */
  readonly pid: number;
  /** Offset in the file in bytes. */
  readonly offset: number;
  /** Bytes; 0 for a change of the file's size, for which the kernel gives no range. */
  readonly count: number;
  /** Where it is among the bytes that it was decoded from. */
  readonly at: number;
}

/**
 * Creates a group for pre-content events. Reads of it do not block.
 *
 * @throws {SyscallError} EINVAL when the kernel lacks pre-content events, EPERM without CAP_SYS_ADMIN
 */
export function fanotifyInit(): Fd {
  const { CLOEXEC, NONBLOCK, CLASS_PRE_CONTENT, UNLIMITED_QUEUE, UNLIMITED_MARKS } = FAN_INIT;
  const flags = CLOEXEC | NONBLOCK | CLASS_PRE_CONTENT | UNLIMITED_QUEUE | UNLIMITED_MARKS;
  const raw = libc().fanotify_init(flags, O.RDONLY | O.LARGEFILE | O.CLOEXEC | O.NOATIME);
  return Fd.own(check(raw, "fanotify_init", "pre-content"));
}

/**
 * Marks a file: descriptors opened from now on raise events. Marking a file twice is not an error.
 *
 * @throws {SyscallError} EINVAL, EOPNOTSUPP when kernel or file system lack pre-content events
 */
export function markFile(group: Fd, file: AnyFd): void {
  mark(group, FAN_MARK.ADD, file, "watch");
}

/** Removes the mark of a file, if any. Readers that already wait for an answer keep waiting. */
export function unmarkFile(group: Fd, file: AnyFd): void {
  try {
    mark(group, FAN_MARK.REMOVE, file, "stop watching");
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

/** Excludes accesses through the mount on which the directory `root` is open. O_PATH suffices. */
export function ignoreMount(group: Fd, root: AnyFd): void {
  const { ADD, MOUNT, IGNORE, IGNORED_SURV_MODIFY } = FAN_MARK;
  mark(group, ADD | MOUNT | IGNORE | IGNORED_SURV_MODIFY, root, "ignore mount of", ".");
}

/** @param name below the directory `file`; if absent, `file` itself, which must not be O_PATH */
function mark(group: Fd, flags: number, file: AnyFd, what: string, name?: string): void {
  const raw = rawFd(file);
  const path = name === undefined ? null : nameArgument(name, "fanotify_mark");
  check(libc().fanotify_mark(group.raw, flags, BigInt(FAN_PRE_ACCESS), raw, path), what, raw);
}

/** Inode numbers of the files marked in the group, on any file system. */
export function watchedInodes(group: Fd): bigint[] {
  const marks = Deno.readTextFileSync(`/proc/self/fdinfo/${group.raw}`).matchAll(/^fanotify ino:([0-9a-f]+) /gm);
  return Array.from(marks, ([, ino]) => BigInt(`0x${ino}`));
}

/** Decodes the events of one read of a group. Stops at an invalid length, as in a zeroed buffer. */
export function decodeFanotifyEvents(bytes: Uint8Array): FanotifyEvent[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const events: FanotifyEvent[] = [];
  for (let at = 0; at + EVENT_METADATA.SIZE <= bytes.length;) {
    const length = view.getUint32(at + EVENT_METADATA.length, true);
    if (length < EVENT_METADATA.SIZE || at + length > bytes.length) break;
    const version = view.getUint8(at + EVENT_METADATA.version);
    if (version !== FANOTIFY_METADATA_VERSION) {
      throw new Error(`Cannot read fanotify event: version is ${version}, expected ${FANOTIFY_METADATA_VERSION}`);
    }
    const from = at + view.getUint16(at + EVENT_METADATA.metadataLength, true);
    const range = rangeIn(view, from, at + length);
    const fd = view.getInt32(at + EVENT_METADATA.fd, true);
    events.push({ fd, pid: view.getInt32(at + EVENT_METADATA.pid, true), ...range, at });
    at += length;
  }
  return events;
}

/** Takes the event at `at` of `bytes` out of them: what is decoded from now on has -1 as its descriptor. */
export function removeFanotifyEvent(bytes: Uint8Array, at: number): void {
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).setInt32(at + EVENT_METADATA.fd, -1, true);
}

function rangeIn(view: DataView, from: number, end: number): { offset: number; count: number } {
  for (let at = from; at + EVENT_RANGE.SIZE <= end;) {
    if (view.getUint8(at + EVENT_RANGE.type) === FAN_EVENT_INFO_TYPE_RANGE) {
      const offset = Number(view.getBigUint64(at + EVENT_RANGE.offset, true));
      return { offset, count: Number(view.getBigUint64(at + EVENT_RANGE.count, true)) };
    }
    const length = view.getUint16(at + EVENT_RANGE.length, true);
    if (length === 0) break;
    at += length;
  }
  return { offset: 0, count: 0 };
}

/** Encodes struct fanotify_response: lets the reader of event `fd` continue, or fails it with an `errno` that is not 0. */
export function encodeFanotifyResponse(fd: number, errno: number): Uint8Array<ArrayBuffer> {
  const response = errno === 0 ? FAN_ALLOW : (FAN_DENY | errno << FAN_ERRNO_SHIFT) >>> 0;
  return new Uint8Array(new Uint32Array([fd, response]).buffer);
}

/**
 * Answers an event. Does not close its descriptor.
 *
 * @param errno 0, or the errno for the reader: EIO, EPERM, EBUSY, EAGAIN, ENOSPC, EDQUOT or ETXTBSY
 * @returns false when no reader waits for the event
 */
export function respond(group: AnyFd, fd: number, errno = 0): boolean {
  try {
    write(group, encodeFanotifyResponse(fd, errno));
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}
