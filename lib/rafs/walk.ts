/**
 * Walks a whole tree, for checking, listing and unpacking.
 *
 * @module
 */
import type { Bootstrap, Extent, InodeAttr } from "./bootstrap.ts";
import { unreadable } from "./guard.ts";
import { S_IFDIR, S_IFMT } from "./inode_mode.ts";
import { TreeBudget } from "./tree_budget.ts";

/** One name of the tree. */
export interface TreeEntry {
  /** Absolute, "/" for the root. Bytes, as names need not be UTF-8. Put together when it is asked for. */
  readonly path: Uint8Array;
  /** The last part of the path, none for the root. Of the image's own bytes. */
  readonly name: Uint8Array;
  readonly ino: number;
  /** The directory that holds the name; the root's own number for the root. */
  readonly parent: number;
  /** Filled anew for every entry: the same object each time. */
  readonly attr: Readonly<InodeAttr>;
}

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
  const attr = emptyAttr();
  const entered = new Set<number>();
  const type = start === bootstrap.rootIno ? S_IFDIR >> 12 : 0;
  const stack: FoundEntry[] = [new FoundEntry(undefined, new Uint8Array(), start, type, attr)];
  const budget = new TreeBudget(bootstrap.byteLength);
  for (let entry = stack.pop(); entry !== undefined; entry = stack.pop()) {
    bootstrap.attr(entry.ino, attr);
    const above = entry;
    const { ino, type } = entry;
    if (type !== 0 && type !== (attr.mode & S_IFMT) >> 12) {
      unreadable("RAFS tree", ino, `its name has type ${type}, its mode is 0${attr.mode.toString(8)}`);
    }
    const isDirectory = (attr.mode & S_IFMT) === S_IFDIR;
    yield entry;
    if (!isDirectory) continue;
    if (entered.has(ino)) unreadable("RAFS tree", ino, "the directory occurs twice");
    entered.add(ino);
    const first = stack.length;
    bootstrap.readdir(ino, 0, (name, child, childType) => {
      budget.takeEntry(ino);
      const found = new FoundEntry(above, name, child, childType, attr);
      if (found.endOfPath - 1 > PATH_MAX) unreadable("RAFS tree", ino, `a path below it exceeds ${PATH_MAX} bytes`);
      stack.push(found);
      return true;
    });
    for (let low = first, high = stack.length - 1; low < high; low++, high--) {
      const moved = stack[low] as FoundEntry;
      stack[low] = stack[high] as FoundEntry;
      stack[high] = moved;
    }
  }
}

const SLASH = 0x2f;

/** A name that was found in the directory `above`, and is looked at in a while. */
class FoundEntry implements TreeEntry {
  /** Bytes of the path, without the slash of the root. */
  readonly endOfPath: number;
  #path: Uint8Array | undefined;

  constructor(
    private readonly above: FoundEntry | undefined,
    readonly name: Uint8Array,
    readonly ino: number,
    /** DT_*; 0: not known. */
    readonly type: number,
    readonly attr: InodeAttr,
  ) {
    this.endOfPath = above === undefined ? 0 : above.endOfPath + 1 + name.length;
  }

  get parent(): number {
    return (this.above ?? this).ino;
  }

  get path(): Uint8Array {
    return this.#path ??= this.above === undefined ? Uint8Array.of(SLASH) : this.#below(this.above);
  }

  #below(above: FoundEntry): Uint8Array {
    const path = new Uint8Array(this.endOfPath);
    path.set(above.path.subarray(0, above.endOfPath));
    path[above.endOfPath] = SLASH;
    path.set(this.name, above.endOfPath + 1);
    return path;
  }
}
