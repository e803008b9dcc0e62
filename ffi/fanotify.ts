/**
 * Being asked before a file is read: fanotify's pre-content events.
 *
 * ```
 * reader ── read(2), fault, readahead of a marked file ──► event { fd, offset, count } ──► respond: allow, or an errno
 *    └───────────────────── waits ────────────────────────────────────────────────────────────┘
 * ```
 * A file is watched from the moment when it is opened: a descriptor that was opened before the first mark on its file
 * raises no events, ever. So does one that was opened through a mount that the group ignores.
 *
 * Fail-open: with the last descriptor of the group the kernel lets every reader through. Descriptors of events belong to
 * the process that read them; their numbers name the events in responses, whoever writes these.
 *
 * Source: linux/fanotify.h, fanotify_init(2), fanotify_mark(2), Linux 6.18. Pre-content events are there from 6.14, on
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

/** The one event that is asked for: data are about to be read or changed. */
export const FAN_PRE_ACCESS = 0x0010_0000;

/** struct fanotify_event_metadata: byte offsets. Records follow. */
export const EVENT_METADATA = { SIZE: 24, length: 0, version: 4, metadataLength: 6, mask: 8, fd: 16, pid: 20 } as const;

/** struct fanotify_event_info_range: byte offsets. */
export const EVENT_RANGE = { SIZE: 24, type: 0, length: 2, offset: 8, count: 16 } as const;

const FANOTIFY_METADATA_VERSION = 3;
const FAN_EVENT_INFO_TYPE_RANGE = 6;
const FAN_ALLOW = 1;
const FAN_DENY = 2;
/** Where the errno of a denial stands. */
const FAN_ERRNO_SHIFT = 24;

const libc = loadLibc({
  fanotify_init: { parameters: ["u32", "u32"], result: "i32" }, // int fanotify_init(unsigned flags, unsigned event_f_flags)
  // int fanotify_mark(int fanotify_fd, unsigned flags, uint64_t mask, int dirfd, const char *pathname)
  fanotify_mark: { parameters: ["i32", "u32", "u64", "i32", "buffer"], result: "i32" },
});

/** One event: somebody waits for the answer. */
export interface FanotifyEvent {
  /** Open on the file, to be closed; -1: the kernel could not open it. */
  readonly fd: number;
  /** Who reads; 0 for the kernel itself. */
  readonly pid: number;
  /** Bytes of the file. */
  readonly offset: number;
  /** 0 where the kernel did not say: a change of the file's size. */
  readonly count: number;
}

/**
 * A group for pre-content events; reads do not block.
 *
 * @throws {SyscallError} EINVAL on kernels that do not have them, EPERM without CAP_SYS_ADMIN
 */
export function fanotifyInit(): Fd {
  const { CLOEXEC, NONBLOCK, CLASS_PRE_CONTENT, UNLIMITED_QUEUE, UNLIMITED_MARKS } = FAN_INIT;
  const flags = CLOEXEC | NONBLOCK | CLASS_PRE_CONTENT | UNLIMITED_QUEUE | UNLIMITED_MARKS;
  const raw = libc().fanotify_init(flags, O.RDONLY | O.LARGEFILE | O.CLOEXEC | O.NOATIME);
  return Fd.own(check(raw, "fanotify_init", "pre-content"));
}

/**
 * From now on who opens the file of `file` is watched. Marking twice is no error.
 *
 * @throws {SyscallError} EINVAL, EOPNOTSUPP where kernel or file system do not have pre-content events
 */
export function markFile(group: Fd, file: AnyFd): void {
  mark(group, FAN_MARK.ADD, file, "watch");
}

/** Nobody is watched any more; who waits for an answer waits on. One that has no mark is no error. */
export function unmarkFile(group: Fd, file: AnyFd): void {
  try {
    mark(group, FAN_MARK.REMOVE, file, "stop watching");
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

/** What goes through the mount that the folder `root` is open on raises no events of this group. O_PATH will do. */
export function ignoreMount(group: Fd, root: AnyFd): void {
  const { ADD, MOUNT, IGNORE, IGNORED_SURV_MODIFY } = FAN_MARK;
  mark(group, ADD | MOUNT | IGNORE | IGNORED_SURV_MODIFY, root, "ignore mount of", ".");
}

/** @param name below `file`, a folder then; absent: `file` itself, which is not O_PATH then */
function mark(group: Fd, flags: number, file: AnyFd, what: string, name?: string): void {
  const raw = rawFd(file);
  const path = name === undefined ? null : nameArgument(name, "fanotify_mark");
  check(libc().fanotify_mark(group.raw, flags, BigInt(FAN_PRE_ACCESS), raw, path), what, raw);
}

/** Inode numbers of the files that the group watches, of whatever file systems. */
export function watchedInodes(group: Fd): bigint[] {
  const marks = Deno.readTextFileSync(`/proc/self/fdinfo/${group.raw}`).matchAll(/^fanotify ino:([0-9a-f]+) /gm);
  return Array.from(marks, ([, ino]) => BigInt(`0x${ino}`));
}

/** Takes apart what a read of a group gave; ends at a length that is none, as in a buffer of zeros. */
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
    events.push({ fd, pid: view.getInt32(at + EVENT_METADATA.pid, true), ...range });
    at += length;
  }
  return events;
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

/** struct fanotify_response: the reader of event `fd` goes on, or gets `errno`. */
export function encodeFanotifyResponse(fd: number, errno = 0): Uint8Array<ArrayBuffer> {
  const response = errno === 0 ? FAN_ALLOW : (FAN_DENY | errno << FAN_ERRNO_SHIFT) >>> 0;
  return new Uint8Array(new Uint32Array([fd, response]).buffer);
}

/**
 * Answers an event. Its descriptor stays open.
 *
 * @param errno 0, or what the reader gets: EIO, EPERM, EBUSY, EAGAIN, ENOSPC, EDQUOT or ETXTBSY
 * @returns false when nobody waits for it (any more)
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
