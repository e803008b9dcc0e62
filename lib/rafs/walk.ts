/**
 * Walks a whole tree, for checking, listing and unpacking.
 *
 * @module
 */
import { joinPath, SLASH } from "../base/path_bytes.ts";
import { type Bootstrap, emptyAttr, type Extent, type InodeAttr } from "./bootstrap.ts";
import { unreadable } from "./format/guard.ts";
import { S_IFDIR, S_IFMT } from "./format/inode_mode.ts";
import { TreeBudget } from "./tree_budget.ts";

/** An entry of the tree. */
export interface TreeEntry {
  /** Absolute; "/" for the root. Bytes, since names need not be UTF-8. Assembled on first access. */
  readonly path: Uint8Array;
  /** Last component of the path, empty for the root. A view of the image's bytes. */
  readonly name: Uint8Array;
  readonly ino: number;
  /** Inode of the directory that holds the name; the root's own number for the root. */
  readonly parent: number;
  /** Refilled for every entry: always the same object. */
  readonly attr: Readonly<InodeAttr>;
}

/** Maximum bytes of a Linux path without the leading slash. Bounds the work on deeply nested trees. */
export const PATH_MAX = 4095;

/** Number of chunks requested at a time. */
export const CHUNKS_AT_ONCE = 256;

/** Yields the chunks of a file of `size` bytes, in order and whole. */
export function* fileExtents(bootstrap: Bootstrap, ino: number, size: number): Generator<Extent> {
  const step = CHUNKS_AT_ONCE * bootstrap.chunkSize;
  for (let offset = 0; offset < size; offset += step) yield* bootstrap.extents(ino, offset, step);
}

/**
 * Yields every entry: a directory before its content, names in ascending order within a directory.
 *
 * Terminates for every image: each directory is entered once, and the number of entries is bounded by the image's size.
 *
 * @param start the inode to begin with, whose path is then "/"; the root by default
 * @throws {RafsError} on damage, including a directory that occurs twice or a path too long for Linux
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

/** A name found in the directory `above` and not yet visited. */
class FoundEntry implements TreeEntry {
  /** Bytes of the path, without the slash of the root. */
  readonly endOfPath: number;
  #path: Uint8Array | undefined;

  constructor(
    private readonly above: FoundEntry | undefined,
    readonly name: Uint8Array,
    readonly ino: number,
    /** DT_* of the name; 0 when unknown. */
    readonly type: number,
    readonly attr: InodeAttr,
  ) {
    this.endOfPath = above === undefined ? 0 : above.endOfPath + 1 + name.length;
  }

  get parent(): number {
    return (this.above ?? this).ino;
  }

  get path(): Uint8Array {
    return this.#path ??= this.above === undefined ? Uint8Array.of(SLASH) : joinPath(this.above.path, this.name);
  }
}
