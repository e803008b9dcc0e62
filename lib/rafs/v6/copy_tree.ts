/**
 * Copies the tree of a v6 bootstrap into a writer's table directly from its bytes. `walkTree` and
 * {@link TreeTable.addInode} would allocate an object per name and inode and take four times as long.
 *
 * Every inode, directory and chunk index is validated by the same readers. Inodes are numbered in walk order, a
 * directory before its content.
 *
 * @module
 */
import type { InodeAttr } from "../bootstrap.ts";
import { unreadable } from "../guard.ts";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../inode_mode.ts";
import { TreeBudget } from "../tree_budget.ts";
import { emptyAttr, PATH_MAX } from "../walk.ts";
import type { ChunkIndex } from "./chunk_index.ts";
import type { DirectoryReader } from "./directory.ts";
import type { InodeCursor } from "./inode.ts";
import type { TreeTable } from "./tree_table.ts";
import { encodeXattrs } from "./xattr_writer.ts";
import { readXattrs } from "./xattrs.ts";

const WHAT = "RAFS tree";

/** A bootstrap and its readers, which share one cursor. */
export interface TreeSource {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly inode: InodeCursor;
  readonly directory: DirectoryReader;
  readonly chunkIndex: ChunkIndex;
  readonly rootNid: number;
  readonly chunkSize: number;
  readonly explicitUidGid: boolean;
  readonly hasXattrs: boolean;
}

/**
 * Called for each chunk of a file.
 *
 * @param chunkOffset in the blob's address space
 * @returns the offset to write for it, as in {@link ChunkPlace.uncompressedOffset}
 */
export type PlaceChunk = (blobIndex: number, chunkIndex: number, chunkOffset: number, chunkLength: number) => number;

/** A bootstrap whose whole tree can be copied without allocating an object per inode and name. */
export interface CopyableTree {
  /**
   * Fills `tree`, which must be empty.
   *
   * @returns false if this image cannot be copied
   */
  copyTree(tree: TreeTable, placeChunk: PlaceChunk): boolean;
}

/**
 * Fills `tree`, which must be empty.
 *
 * @throws {RafsError} as `walkTree`; errors of `placeChunk` pass through
 */
export function copyTree(source: TreeSource, tree: TreeTable, placeChunk: PlaceChunk): void {
  new TreeCopier(source, tree, placeChunk).copy();
}

class TreeCopier {
  readonly #attr: InodeAttr = emptyAttr();
  /** Inode rows by nid. */
  readonly #inodes = new Map<number, number>();
  /** Bytes of each directory's path, without the slash of the root. */
  readonly #pathEnds: number[] = [];
  /** DT_* of each entry; 0 when unknown. */
  readonly #types: number[] = [];
  /** Rows of entries not yet visited; their inode column holds a nid. */
  readonly #found: number[] = [];
  readonly #budget: TreeBudget;

  constructor(
    private readonly source: TreeSource,
    private readonly tree: TreeTable,
    private readonly placeChunk: PlaceChunk,
  ) {
    this.#budget = new TreeBudget(source.bytes.length);
  }

  copy(): void {
    const { entries, inodes } = this.tree;
    this.#list(this.source.rootNid, this.#add(this.source.rootNid), 0, 0);
    for (let row = this.#found.pop(); row !== undefined; row = this.#found.pop()) {
      const nid = entries.inode[row] as number, directory = entries.directory[row] as number;
      const known = this.#inodes.get(nid);
      const inode = known ?? this.#add(nid);
      const mode = this.tree.modeOf(inode), type = this.#types[row];
      if (type !== 0 && type !== (mode & S_IFMT) >> 12) {
        unreadable(WHAT, nid, `its name has type ${type}, its mode is 0${mode.toString(8)}`);
      }
      entries.inode[row] = inode;
      if ((mode & S_IFMT) !== S_IFDIR) {
        inodes.nlink[inode] = (inodes.nlink[inode] as number) + 1;
        continue;
      }
      if (known !== undefined) unreadable(WHAT, nid, "the directory occurs twice");
      inodes.nlink[directory] = (inodes.nlink[directory] as number) + 1;
      const pathEnd = (this.#pathEnds[directory] as number) + 1 + (entries.nameSize[row] as number);
      this.#list(nid, inode, directory, pathEnd);
    }
  }

  /** Adds the names in a directory, beginning with "." and "..". */
  #list(nid: number, inode: number, parent: number, pathEnd: number): void {
    const { tree, source: { bytes, inode: cursor } } = this;
    this.#pathEnds[inode] = pathEnd;
    tree.addDots(inode, parent);
    this.#types.push(0, 0);
    const first = this.#found.length;
    this.source.directory.list(nid, 0, (start, end, child, type) => {
      this.#budget.takeEntry(nid);
      if (pathEnd + end - start > PATH_MAX) unreadable(WHAT, nid, `a path below it exceeds ${PATH_MAX} bytes`);
      if (child > bytes.length) cursor.load(child); // fails, because the nid may not fit a row
      const row = tree.entries.add();
      tree.entries.directory[row] = inode;
      tree.entries.inode[row] = child;
      tree.entries.nameAt[row] = tree.names.appendRange(bytes, start, end);
      tree.entries.nameSize[row] = end - start;
      this.#types.push(type);
      this.#found.push(row);
      return true;
    });
    for (let low = first, high = this.#found.length - 1; low < high; low++, high--) {
      const moved = this.#found[low] as number;
      this.#found[low] = this.#found[high] as number;
      this.#found[high] = moved;
    }
  }

  /** Adds the inode and returns its row. */
  #add(nid: number): number {
    const { tree: { inodes, bytes }, source: { inode, explicitUidGid, hasXattrs } } = this;
    const attr = this.#attr;
    inode.load(nid);
    inode.attr(attr);
    const type = attr.mode & S_IFMT;
    const row = inodes.add();
    inodes.mode[row] = attr.mode;
    inodes.uid[row] = explicitUidGid ? attr.uid : 0;
    inodes.gid[row] = explicitUidGid ? attr.gid : 0;
    inodes.rdev[row] = attr.rdev;
    inodes.mtime[row] = BigInt(attr.mtime);
    inodes.mtimeNsec[row] = attr.mtimeNsec;
    inodes.size[row] = type === S_IFREG || type === S_IFLNK ? attr.size : 0;
    inodes.nlink[row] = type === S_IFDIR ? 2 : 0;
    inodes.shownNlink[row] = attr.nlink;
    inodes.xattrAt[row] = bytes.length;
    if (hasXattrs && inode.xattrSize > 0) this.#copyXattrs(nid);
    const contentAt = inodes.contentAt[row] = bytes.length;
    inodes.xattrSize[row] = contentAt - (inodes.xattrAt[row] as number);
    if (type === S_IFREG) this.#copyChunks(nid);
    else if (type === S_IFLNK) this.#copyTarget(nid);
    inodes.contentSize[row] = bytes.length - contentAt;
    this.#inodes.set(nid, row);
    return row;
  }

  #copyXattrs(nid: number): void {
    const { bytes, view, inode } = this.source;
    const xattrs = [...readXattrs(bytes, view, inode)];
    this.#budget.takeXattrs(nid, xattrs);
    this.tree.appendXattrs(encodeXattrs(xattrs));
  }

  #copyTarget(nid: number): void {
    const { bytes, inode } = this.source;
    this.#budget.takeBytes(nid, inode.size);
    this.tree.bytes.append(inode.linkTarget(bytes));
  }

  #copyChunks(nid: number): void {
    const { inode: { chunksAt, chunkCount, size }, chunkIndex, chunkSize } = this.source;
    for (let chunk = 0; chunk < chunkCount; chunk++) {
      this.#budget.takeChunk(nid);
      chunkIndex.load(chunksAt, chunk);
      const { blobIndex, chunkIndex: index, offset } = chunkIndex;
      const length = Math.min(chunkSize, size - chunk * chunkSize);
      this.tree.appendChunk(blobIndex, 0, this.placeChunk(blobIndex, index, offset, length));
    }
  }
}
