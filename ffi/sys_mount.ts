/**
 * Mounting with mount(2) and umount2(2).
 *
 * Options are passed as one string of at most one page. For more options (many overlay layers or devices) and for error
 * messages from the kernel, use mount_api.ts.
 *
 * Source: linux/mount.h 6.18.
 *
 * @module
 */
import { ERRNO, SyscallError } from "./errno.ts";
import { check, cstring, loadLibc, type Name, nameArgument, show } from "./libc.ts";

/** Flags of mount(2). */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  SYNCHRONOUS: 16,
  REMOUNT: 32,
  NOSYMFOLLOW: 256,
  NOATIME: 1024,
  NODIRATIME: 2048,
  BIND: 4096,
  MOVE: 8192,
  REC: 16384,
  UNBINDABLE: 1 << 17,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
  RELATIME: 1 << 21,
  STRICTATIME: 1 << 24,
  LAZYTIME: 1 << 25,
} as const;

/** Flags of umount2(2). */
export const MNT = {
  /** Aborts requests in progress before unmounting; FUSE and NFS only. */
  FORCE: 1,
  /** Detaches from the tree at once; unmounts when the last user is gone. */
  DETACH: 2,
  /** The first call marks the mount, the second one unmounts it if it was not used in between. */
  EXPIRE: 4,
} as const;

/** Does not follow a symbolic link at the end of the target. {@link umount2} always adds it. */
const UMOUNT_NOFOLLOW = 8;

/** The kernel copies one page of 4096 bytes and sets its last byte to NUL. */
export const MOUNT_DATA_MAX = 4095;

const libc = loadLibc({
  // int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)
  mount: { parameters: ["buffer", "buffer", "buffer", "usize", "buffer"], result: "i32" },
  umount2: { parameters: ["buffer", "i32"], result: "i32" }, // int umount2(const char *target, int flags)
  umount2OffThread: { name: "umount2", parameters: ["buffer", "i32"], result: "i32", nonblocking: true }, // as umount2
});

const encoder = new TextEncoder();

/**
 * Mounts `source` on `target`.
 *
 * @param source device, path, or any word if the file system needs none
 * @param type null with BIND, MOVE, REMOUNT and the propagation flags
 * @param flags {@link MS} bits
 * @param data comma-separated options; commas in paths are escaped as the file system requires
 * @throws {RangeError} when options exceed {@link MOUNT_DATA_MAX} bytes, beyond which the kernel would truncate them
 */
export function mount(source: Name | null, target: Name, type: Name | null, flags: number, data?: Name): void {
  const options = data === undefined ? null : mountData(data, target);
  const result = libc().mount(
    source === null ? null : nameArgument(source, "mount"),
    nameArgument(target, "mount", 1),
    type === null ? null : cstring(type, "mount"),
    BigInt(flags),
    options,
  );
  check(result, "mount", target);
}

/** Pads options to a whole page, which the kernel may read. */
function mountData(data: Name, target: Name): Uint8Array<ArrayBuffer> {
  const bytes = typeof data === "string" ? encoder.encode(data) : data;
  if (bytes.length > MOUNT_DATA_MAX) {
    const sizes = `options are ${bytes.length} bytes, mount(2) takes ${MOUNT_DATA_MAX}`;
    throw new RangeError(`Cannot mount "${show(target)}": ${sizes}`);
  }
  if (bytes.includes(0)) throw new SyscallError("mount", ERRNO.EINVAL, show(target), "NUL in options");
  const page = new Uint8Array(MOUNT_DATA_MAX + 1);
  page.set(bytes);
  return page;
}

/**
 * Unmounts the topmost mount at `target`. Does not follow a symbolic link at its end.
 *
 * @param flags {@link MNT} bits
 * @throws {SyscallError} EBUSY when it is in use, EINVAL when nothing is mounted
 */
export function umount2(target: Name, flags: number): void {
  check(libc().umount2(nameArgument(target, "umount"), flags | UMOUNT_NOFOLLOW), "umount", target);
}

/**
 * Like {@link umount2}, on another thread, because the last unmount of a file system that was written to takes as long
 * as its disk does.
 */
export async function umount2OffThread(target: Name, flags: number): Promise<void> {
  const path = cstring(target, "umount");
  if (await libc().umount2OffThread(path, flags | UMOUNT_NOFOLLOW) === 0) return;
  // errno does not cross threads; repeating the call here reports the error
  check(libc().umount2(path, flags | UMOUNT_NOFOLLOW), "umount", target);
}
