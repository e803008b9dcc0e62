/**
 * The attributes of an inode in the form of `nydus-gd inspect -o json`.
 *
 * @module
 */
import { major, minor, S } from "../../../ffi/sys_stat.ts";
import { NODE_TYPES } from "../../archive/node_type.ts";
import { type Bootstrap, type InodeAttr, ownerOf } from "../../rafs/bootstrap.ts";
import { isDevice } from "../../rafs/format/inode_mode.ts";
import { pathText } from "../../rafs/path_text.ts";

/** Names of file types. */
export const TYPE_NAMES: Readonly<Record<number, string>> = { ...NODE_TYPES, [S.IFSOCK]: "socket" };

/** Attributes of an inode. Paths and targets are formatted by pathText. */
export interface EntryFacts {
  readonly path: string;
  readonly type: string;
  /** Permission bits, octal: "0755". */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  readonly size: number;
  /** Seconds since 1970, plus nanoseconds. In digits where a number is not exact. */
  readonly mtime: number | string;
  readonly mtime_nsec: number;
  /** Only for a symbolic link. */
  readonly target?: string;
  /** Only for a device: major and minor number. */
  readonly device?: readonly [number, number];
}

/** Returns the facts of the inode whose attributes are in `attr`. */
export function entryFacts(tree: Bootstrap, path: Uint8Array, ino: number, attr: Readonly<InodeAttr>): EntryFacts {
  const { mode, nlink, size, mtime, mtimeNsec, rdev } = attr;
  return {
    path: pathText(path),
    type: TYPE_NAMES[mode & S.IFMT] ?? "unknown",
    mode: (mode & 0o7777).toString(8).padStart(4, "0"),
    ...ownerOf(tree, attr),
    links: nlink,
    size,
    mtime: typeof mtime === "bigint" ? String(mtime) : mtime,
    mtime_nsec: mtimeNsec,
    ...((mode & S.IFMT) === S.IFLNK ? { target: pathText(tree.readlink(ino)) } : {}),
    ...(isDevice(mode) ? { device: [major(rdev), minor(rdev)] as const } : {}),
  };
}
