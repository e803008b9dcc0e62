/**
 * File watches, used for one event: the unmounting of a file system.
 *
 * A watch holds an inode but not its file system. When the last user of a mount is gone, the kernel drops the watch and
 * sends IN_UNMOUNT. It comes only after every private copy of the mount is gone, such as the one held by an overlay.
 *
 * Source: linux/inotify.h, Linux 6.18.
 *
 * @module
 */
import { ERRNO } from "./errno.ts";
import { Fd } from "./fd.ts";
import { check, errno, failure, loadLibc, type Name, nameArgument } from "./libc.ts";

/** Events and flags. */
export const IN = {
  DELETE_SELF: 0x400,
  UNMOUNT: 0x2000,
  Q_OVERFLOW: 0x4000,
  IGNORED: 0x8000,
  ONLYDIR: 0x100_0000,
} as const;

/** struct inotify_event: byte offsets; `length` bytes of name follow. */
const INOTIFY_EVENT = { SIZE: 16, watch: 0, mask: 4, cookie: 8, length: 12 } as const;

const IN_CLOEXEC = 0o2000000;
const IN_NONBLOCK = 0o4000;

const libc = loadLibc({
  inotify_init1: { parameters: ["i32"], result: "i32" }, // int inotify_init1(int flags)
  // int inotify_add_watch(int fd, const char *pathname, uint32_t mask)
  inotify_add_watch: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" }, // ssize_t read(int fd, void *buf, size_t count)
});

/** One event. */
export interface InotifyEvent {
  readonly watch: number;
  /** {@link IN} bits. */
  readonly mask: number;
}

/** Creates an inotify instance. Reads of it do not block. */
export function inotifyInit(): Fd {
  return Fd.own(check(libc().inotify_init1(IN_CLOEXEC | IN_NONBLOCK), "inotify_init1", "watch"));
}

/** Watches `path`. Returns the watch number used in events. */
export function inotifyAddWatch(inotify: Fd, path: Name, mask: number): number {
  const name = nameArgument(path, "inotify_add_watch");
  return check(libc().inotify_add_watch(inotify.raw, name, mask), "inotify_add_watch", path);
}

/** Returns pending events, possibly none. */
export function inotifyRead(inotify: Fd): InotifyEvent[] {
  const buffer = new Uint8Array(4096);
  const length = libc().read(inotify.raw, buffer, BigInt(buffer.length));
  if (length >= 0) return decodeInotifyEvents(buffer.subarray(0, length));
  if (errno() === ERRNO.EAGAIN) return [];
  throw failure("read", inotify.raw);
}

/** Decodes complete events. */
export function decodeInotifyEvents(bytes: Uint8Array): InotifyEvent[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const events: InotifyEvent[] = [];
  for (let at = 0; at + INOTIFY_EVENT.SIZE <= bytes.length;) {
    events.push({
      watch: view.getInt32(at + INOTIFY_EVENT.watch, true),
      mask: view.getUint32(at + INOTIFY_EVENT.mask, true),
    });
    at += INOTIFY_EVENT.SIZE + view.getUint32(at + INOTIFY_EVENT.length, true);
  }
  return events;
}
