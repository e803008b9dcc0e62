/**
 * Mounting in steps: fsopen(2), fsconfig(2), fsmount(2), move_mount(2), and detached trees, whose owners
 * mount_setattr(2) can map.
 *
 * Unlike mount(2), the number of options is not limited (each value is at most 255 bytes), a mount can exist before it
 * is attached to the tree, and the file system explains errors in its own words.
 *
 * ```ts
 * using context = FsContext.open("overlay");
 * context.setString("lowerdir+", "/l/2").setString("lowerdir+", "/l/1").setFlag("ro").create();
 * using tree = context.mount();
 * moveMount(tree, "/merged");
 * ```
 *
 * Source: linux/mount.h, asm-generic/unistd.h (the numbers are the same on x86-64 and arm64), Linux 6.18. fsopen and
 * its family exist from 5.2, mount_setattr from 5.12; ENOSYS before that. Called by number, because glibc has wrappers
 * only since 2.36.
 *
 * @module
 */
import { isErrno, SyscallError } from "./errno.ts";
import { AT, type DirFd, O, rawDir } from "./fcntl.ts";
import { Fd } from "./fd.ts";
import { check, errno, loadLibc, type Name, nameArgument, show } from "./libc.ts";
import { read } from "./unistd.ts";

/** Commands of fsconfig(2). */
const FSCONFIG = {
  SET_FLAG: 0,
  SET_STRING: 1,
  SET_BINARY: 2,
  SET_PATH: 3,
  SET_PATH_EMPTY: 4,
  SET_FD: 5,
  CMD_CREATE: 6,
  CMD_RECONFIGURE: 7,
  /** Like CREATE, but EBUSY if the file system would reuse a super block. Linux >= 6.6. */
  CMD_CREATE_EXCL: 8,
} as const;

/** Attributes of a mount, for {@link FsContext.mount}. */
export const MOUNT_ATTR = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  NOATIME: 0x10,
  STRICTATIME: 0x20,
  NODIRATIME: 0x80,
  IDMAP: 0x10_0000,
  NOSYMFOLLOW: 0x20_0000,
} as const;

/** Flag of move_mount(2): the source is the descriptor itself. */
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;

/** Flags of open_tree(2), in addition to {@link AT} bits. */
export const OPEN_TREE = {
  /** Returns a detached copy of the mount; without it, an O_PATH descriptor. */
  CLONE: 1,
} as const;

/** System call numbers, the same on every machine. */
export const MOUNT_SYSCALLS = {
  open_tree: 428n,
  move_mount: 429n,
  fsopen: 430n,
  fsconfig: 431n,
  fsmount: 432n,
  mount_setattr: 442n,
} as const;

/** `struct mount_attr`: byte offsets of u64. */
const MOUNT_ATTRIBUTES = { SIZE: 32, attrSet: 0, attrClr: 8, propagation: 16, usernsFd: 24 } as const;

const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;

const libc = loadLibc({
  // long syscall(SYS_fsopen, const char *fs_name, unsigned flags)
  fsopen: { name: "syscall", parameters: ["i64", "buffer", "u32"], result: "i32" },
  // long syscall(SYS_fsconfig, int fs_fd, unsigned cmd, const char *key, const void *value, int aux)
  fsconfig: { name: "syscall", parameters: ["i64", "i32", "u32", "buffer", "buffer", "i32"], result: "i32" },
  // long syscall(SYS_fsmount, int fs_fd, unsigned flags, unsigned attr_flags)
  fsmount: { name: "syscall", parameters: ["i64", "i32", "u32", "u32"], result: "i32" },
  // long syscall(SYS_move_mount, int from_dfd, const char *from, int to_dfd, const char *to, unsigned flags)
  move_mount: { name: "syscall", parameters: ["i64", "i32", "buffer", "i32", "buffer", "u32"], result: "i32" },
  // long syscall(SYS_open_tree, int dfd, const char *path, unsigned flags)
  open_tree: { name: "syscall", parameters: ["i64", "i32", "buffer", "u32"], result: "i32" },
  // long syscall(SYS_mount_setattr, int dfd, const char *path, unsigned flags, struct mount_attr *attr, size_t size)
  mount_setattr: { name: "syscall", parameters: ["i64", "i32", "buffer", "u32", "buffer", "usize"], result: "i32" },
});

/** A file system under configuration. */
export class FsContext implements Disposable {
  readonly #fd: Fd;
  readonly #type: string;

  private constructor(fd: Fd, type: string) {
    this.#fd = fd;
    this.#type = type;
  }

  /** @throws {SyscallError} ENODEV when the kernel lacks the type, EPERM without CAP_SYS_ADMIN */
  static open(type: string): FsContext {
    const raw = check(
      libc().fsopen(MOUNT_SYSCALLS.fsopen, nameArgument(type, "fsopen"), FSOPEN_CLOEXEC),
      "fsopen",
      type,
    );
    return new FsContext(Fd.own(raw), type);
  }

  /**
   * Sets `key=value`. The value has at most 255 bytes (EINVAL). The key "source" is the source argument of mount(2).
   */
  setString(key: string, value: Name): this {
    return this.#config(FSCONFIG.SET_STRING, key, nameArgument(value, "fsconfig", 1), 0, `${key}=${show(value)}`);
  }

  /** Sets an option without a value, such as "ro". */
  setFlag(key: string): this {
    return this.#config(FSCONFIG.SET_FLAG, key, null, 0, key);
  }

  /** Sets a descriptor as the value. overlay accepts O_PATH descriptors for its layers from Linux 6.13. */
  setFd(key: string, fd: Fd): this {
    return this.#config(FSCONFIG.SET_FD, key, null, fd.raw, key);
  }

  /** Creates the super block from the options, or finds an existing one to share. */
  create(): this {
    return this.#config(FSCONFIG.CMD_CREATE, null, null, 0, "create");
  }

  /**
   * Creates a detached mount of the super block; `attributes` is {@link MOUNT_ATTR} bits. It disappears if closed
   * before it is moved.
   */
  mount(attributes = 0): Fd {
    const raw = libc().fsmount(MOUNT_SYSCALLS.fsmount, this.#fd.raw, FSMOUNT_CLOEXEC, attributes);
    if (raw === -1) throw this.#failed("fsmount", "mount");
    return Fd.own(raw);
  }

  /**
   * Messages of the file system since the last call, oldest first: "e overlay: …" errors, "w …" warnings, "i …" notes.
   * The kernel keeps eight; reading removes them.
   */
  messages(): string[] {
    const messages: string[] = [];
    const buffer = new Uint8Array(4096);
    const decoder = new TextDecoder();
    for (;;) {
      try {
        const length = read(this.#fd, buffer);
        messages.push(show(decoder.decode(buffer.subarray(0, length)).trimEnd()));
      } catch (error) {
        if (isErrno(error, "ENODATA")) return messages;
        throw error;
      }
    }
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }

  #config(command: number, key: string | null, value: Uint8Array | null, aux: number, what: string): this {
    const name = key === null ? null : nameArgument(key, "fsconfig");
    const result = libc().fsconfig(MOUNT_SYSCALLS.fsconfig, this.#fd.raw, command, name, value, aux);
    if (result === -1) throw this.#failed("fsconfig", what);
    return this;
  }

  #failed(syscall: string, what: string): SyscallError {
    const number = errno();
    const messages = this.messages();
    const detail = messages.length === 0 ? undefined : messages.join("; ");
    return new SyscallError(syscall, number, `${this.#type}: ${what}`, detail);
  }
}

/** Attaches a detached mount to the tree at `target`. Does not follow a symbolic link at the end of the path. */
export function moveMount(tree: Fd, target: Name): void {
  const from = nameArgument("", "move_mount");
  const to = nameArgument(target, "move_mount", 1);
  check(
    libc().move_mount(MOUNT_SYSCALLS.move_mount, tree.raw, from, AT.FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH),
    "move_mount",
    target,
  );
}

/**
 * Opens a mount as a descriptor. With OPEN_TREE.CLONE: a detached, private copy of the mount (of the subtree at
 * `path`).
 *
 * @param flags {@link OPEN_TREE} and {@link AT} bits (RECURSIVE, EMPTY_PATH, SYMLINK_NOFOLLOW)
 */
export function openTree(dir: DirFd, path: Name, flags: number): Fd {
  const name = nameArgument(path, "open_tree");
  return Fd.own(
    check(libc().open_tree(MOUNT_SYSCALLS.open_tree, rawDir(dir), name, flags | O.CLOEXEC), "open_tree", path),
  );
}

/** `struct mount_attr` that maps owners as `userNamespace`, a descriptor, does. */
export function idmapAttributes(userNamespace: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(MOUNT_ATTRIBUTES.SIZE);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(MOUNT_ATTRIBUTES.attrSet, BigInt(MOUNT_ATTR.IDMAP), true);
  view.setBigUint64(MOUNT_ATTRIBUTES.usernsFd, BigInt(userNamespace), true);
  return bytes;
}

/**
 * Shows owner `n` of the file system as the user that `userNamespace` maps its `n` to, and what it does not map as the
 * overflow ids. What is mounted in the tree afterwards is not affected.
 *
 * @param tree a detached mount ({@link openTree} with CLONE), not mapped yet
 * @throws {SyscallError} EINVAL if the file system cannot be mapped: FUSE before Linux 6.12, overlayfs
 */
export function idmapTree(tree: Fd, userNamespace: Fd): void {
  const name = nameArgument("", "mount_setattr");
  const attributes = idmapAttributes(userNamespace.raw);
  const size = BigInt(attributes.length);
  const result = libc().mount_setattr(MOUNT_SYSCALLS.mount_setattr, tree.raw, name, AT.EMPTY_PATH, attributes, size);
  check(result, "mount_setattr", "user namespace");
}
