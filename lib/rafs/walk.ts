/**
 * Walks a whole tree, for checking, listing and unpacking.
 *
 * @module
 */
import type { Bootstrap, Extent, InodeAttr } from "./bootstrap.ts";
import { unreadable } from "./guard.ts";
import { S_IFDIR, S_IFMT } from "./inode_mode.ts";

/** One name of the tree. */
export interface TreeEntry {
  /** Absolute, "/" for the root. Bytes, as names need not be UTF-8. */
  readonly path: Uint8Array;
  readonly ino: number;
  /** The directory that holds the name; the root's own number for the root. */
  readonly parent: number;
  /** Filled anew for every entry: the same object each time. */
  readonly attr: Readonly<InodeAttr>;
}

/** Fewer bytes than any directory entry of either version takes. */
export const LEAST_ENTRY = 12;

/** Longest path that Linux takes, bytes, without the leading slash: longer ones would make a deep tree endless. */
export const PATH_MAX = 4095;

/** Chunks of a file that are looked at at once. */
export const CHUNKS_AT_ONCE = 256;

/** The chunks of a file of `size` bytes in order, each whole. */
export function* fileExtents(bootstrap: Bootstrap, ino: number, size: number): Generator<Extent> {
  const step = CHUNKS_AT_ONCE * bootstrap.chunkSize;
  for (let offset = 0; offset < size; offset += step) yield* bootstrap.extents(ino, offset, step);
}

/** Attributes to be filled by {@link Bootstrap.attr}. */
export function emptyAttr(): InodeAttr {
  return { ino: 0, mode: 0, nlink: 0, uid: 0, gid: 0, rdev: 0, size: 0, mtime: 0, mtimeNsec: 0 };
}

/**
 * Every entry, a directory before what it holds, names ascending within a directory.
 *
 * @param start the inode to begin with, which is then called "/"; the root unless given
 * Ends for every image: each directory is entered once, and an image has no more entries than bytes for them.
 *
 * @throws {RafsError} on damage, a directory that is met twice and a path that is too long for Linux included
 */
export function* walkTree(bootstrap: Bootstrap, start = bootstrap.rootIno): Generator<TreeEntry> {
  interface Pending {
    path: Uint8Array;
    ino: number;
    parent: number;
    type: number;
  }
  const attr = emptyAttr();
  const entered = new Set<number>();
  const type = start === bootstrap.rootIno ? S_IFDIR >> 12 : 0;
  const stack: Pending[] = [{ path: Uint8Array.of(0x2f), ino: start, parent: start, type }];
  let left = Math.ceil(bootstrap.byteLength / LEAST_ENTRY);
  for (let entry = stack.pop(); entry !== undefined; entry = stack.pop()) {
    bootstrap.attr(entry.ino, attr);
    const { path, ino, parent, type } = entry;
    if (type !== 0 && type !== (attr.mode & S_IFMT) >> 12) {
      unreadable("RAFS tree", ino, `its name has type ${type}, its mode is 0${attr.mode.toString(8)}`);
    }
    const isDirectory = (attr.mode & S_IFMT) === S_IFDIR;
    yield { path, ino, parent, attr };
    if (!isDirectory) continue;
    if (entered.has(ino)) unreadable("RAFS tree", ino, "the directory occurs twice");
    entered.add(ino);
    const prefix = path.length === 1 ? 0 : path.length;
    const first = stack.length;
    bootstrap.readdir(ino, 0, (name, child, childType) => {
      if (--left < 0) unreadable("RAFS tree", ino, "it has more entries than the image has room for");
      if (prefix + name.length > PATH_MAX) unreadable("RAFS tree", ino, `a path below it exceeds ${PATH_MAX} bytes`);
      const childPath = new Uint8Array(prefix + 1 + name.length);
      childPath.set(path.subarray(0, prefix));
      childPath[prefix] = 0x2f;
      childPath.set(name, prefix + 1);
      stack.push({ path: childPath, ino: child, parent: ino, type: childType });
      return true;
    });
    for (let low = first, high = stack.length - 1; low < high; low++, high--) {
      const moved = stack[low] as Pending;
      stack[low] = stack[high] as Pending;
      stack[high] = moved;
    }
  }
}
