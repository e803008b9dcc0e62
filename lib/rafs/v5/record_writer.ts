/**
 * Writes the records of a v5 bootstrap: an inode each, under one of its names.
 *
 * ```
 * │ inode, 128 bytes │ name │ symbolic link target │ xattrs │ chunk infos, 80 bytes each │    name, target: to 8 bytes
 * ```
 * Records are written in reverse, since a directory's digest covers the digests of its children, which come after it.
 *
 * Source: dragonflyoss/nydus rafs/src/metadata/layout/v5.rs; of the digests rafs/src/builder.
 *
 * @module
 */
import { copyBytes, roundUp, writeU64 } from "../../base/bytes.ts";
import { RafsError } from "../bootstrap.ts";
import { CHUNK_INFO, copyChunkInfo } from "../format/chunk_info.ts";
import { DIGEST_SIZE } from "../blob/chunk_table.ts";
import { DROP_INTERVAL, type ImageMemory } from "../memory/image_memory.ts";
import { S_IFMT, S_IFREG } from "../format/inode_mode.ts";
import type { MoveChunk } from "../v6/writer.ts";
import type { TreeTable } from "../v6/tree_table.ts";
import type { ChunkLookup } from "./chunk_lookup.ts";
import { INODE, INODE_FLAG, UNIT } from "./layout.ts";
import type { RecordRows } from "./record_numbers.ts";

/** A directory's size is that of its entries rounded up to this. */
const DIRECTORY_BLOCK = 4096;
const SECTOR = 512;
const NO_BYTES = new Uint8Array(0);

/** The tree that records are made of. */
export interface RecordSource {
  readonly rows: RecordRows;
  readonly tree: TreeTable;
  /** Encoded extended attributes by inode. */
  readonly xattrs: ReadonlyMap<number, Uint8Array>;
}

/** What the records need besides. */
export interface RecordOptions {
  readonly chunkSize: number;
  digest(bytes: Uint8Array): Uint8Array;
  readonly memory: ImageMemory;
  /** Offset of a record in the image, by its number. */
  placeOf(index: number): number;
  readonly chunks: ChunkLookup;
  /** Called for every chunk of every file, once. */
  readonly move: MoveChunk | undefined;
}

/** Places the records one after the other from offset `start` on. */
export function placeRecords(
  { rows, tree, xattrs }: RecordSource,
  start: number,
): { readonly at: (index: number) => number; readonly end: number } {
  const offsets = new Float64Array(rows.count + 2);
  offsets[1] = start;
  for (let index = 1; index <= rows.count; index++) {
    const inode = rows.inodeOf(index);
    const size = INODE.SIZE + roundUp(rows.nameOf(index).length, UNIT) + roundUp(tree.targetOf(inode).length, UNIT) +
      (xattrs.get(inode)?.length ?? 0) + tree.chunkCountOf(inode) * CHUNK_INFO.SIZE;
    offsets[index + 1] = (offsets[index] as number) + size;
  }
  return { at: (index) => offsets[index] as number, end: offsets[rows.count + 1] as number };
}

/** Writes all records of an image. */
export class RecordWriter {
  readonly #view: DataView;

  constructor(
    private readonly image: Uint8Array<ArrayBuffer>,
    private readonly source: RecordSource,
    private readonly options: RecordOptions,
  ) {
    this.#view = new DataView(image.buffer);
  }

  /** @throws {RafsError} "unsupported" when a chunk of a file was not added */
  write(): void {
    const { rows } = this.source;
    let looked = 0;
    for (let index = rows.count; index >= 1; index--) {
      looked += 1 + rows.childrenOf(index).count;
      if (looked >= DROP_INTERVAL) {
        looked = 0;
        this.options.memory.dropPages();
      }
      this.#writeRecord(index);
    }
  }

  #writeRecord(index: number): void {
    const { image, source: { rows, tree }, options } = this;
    const at = options.placeOf(index);
    const inode = rows.inodeOf(index);
    const name = rows.nameOf(index);
    const target = tree.targetOf(inode);
    const xattrs = this.source.xattrs.get(inode) ?? NO_BYTES;
    const targetAt = at + INODE.SIZE + roundUp(name.length, UNIT);
    const xattrAt = targetAt + roundUp(target.length, UNIT);
    const chunkDigests = this.#writeChunks(inode, xattrAt + xattrs.length);
    image.set(name, at + INODE.SIZE);
    image.set(target, targetAt);
    image.set(xattrs, xattrAt);
    this.#writeInode(index, at, xattrs.length);
    const digested = tree.isDirectory(inode) ? this.#childDigests(index) : chunkDigests ?? target;
    image.set(options.digest(digested), at + INODE.digest);
  }

  #writeInode(index: number, at: number, xattrSize: number): void {
    const { rows, tree } = this.source;
    const view = this.#view;
    const { inodes } = tree;
    const inode = rows.inodeOf(index);
    const children = rows.childrenOf(index);
    const isFolder = tree.isDirectory(inode);
    const target = tree.targetOf(inode);
    const size = isFolder ? this.#directorySize(index) : inodes.size[inode] as number;
    writeU64(view, at + INODE.parent, rows.parentOf(index));
    writeU64(view, at + INODE.ino, rows.inoOf(index));
    view.setUint32(at + INODE.uid, inodes.uid[inode] as number, true);
    view.setUint32(at + INODE.gid, inodes.gid[inode] as number, true);
    view.setUint32(at + INODE.mode, tree.modeOf(inode), true);
    writeU64(view, at + INODE.size, size);
    writeU64(view, at + INODE.blocks, Math.ceil((size + xattrSize) / SECTOR));
    const flags = (target.length > 0 ? INODE_FLAG.symlink : 0) | (xattrSize > 0 ? INODE_FLAG.xattr : 0);
    writeU64(view, at + INODE.flags, flags);
    view.setUint32(at + INODE.nlink, inodes.nlink[inode] as number, true);
    // Readers before nydus 2.2 refuse an image with an empty directory whose index of children is less than its own.
    const firstChild = children.count > 0 ? children.first : index + 1;
    view.setUint32(at + INODE.childIndex, isFolder ? firstChild : 0, true);
    view.setUint32(at + INODE.childCount, isFolder ? children.count : tree.chunkCountOf(inode), true);
    view.setUint16(at + INODE.nameSize, rows.nameOf(index).length, true);
    view.setUint16(at + INODE.symlinkSize, target.length, true);
    view.setUint32(at + INODE.rdev, inodes.rdev[inode] as number, true);
    view.setUint32(at + INODE.mtimeNsec, inodes.mtimeNsec[inode] as number, true);
    view.setBigInt64(at + INODE.mtime, inodes.mtime[inode] as bigint, true);
  }

  /** Writes a file's chunk infos at `start` and returns their concatenated digests; undefined for other types. */
  #writeChunks(inode: number, start: number): Uint8Array | undefined {
    const { image, source: { tree }, options: { chunkSize, chunks, move } } = this;
    if ((tree.modeOf(inode) & S_IFMT) !== S_IFREG) return undefined;
    const digests = new Uint8Array(tree.chunkCountOf(inode) * DIGEST_SIZE);
    const info = { bytes: image, at: 0, blobIndex: 0 };
    const place = { blobIndex: 0, chunkIndex: 0, uncompressedOffset: 0 };
    for (let k = 0; k * DIGEST_SIZE < digests.length; k++) {
      tree.chunkOf(inode, k, place);
      move?.(place);
      const { blobIndex, chunkIndex } = place;
      if (!chunks.find(blobIndex, chunkIndex, info)) {
        throw new RafsError(
          `Cannot write RAFS v5 chunk: chunk ${chunkIndex} of blob ${blobIndex} was not added`,
          "unsupported",
        );
      }
      const at = start + k * CHUNK_INFO.SIZE;
      copyChunkInfo(info, image, this.#view, at, k * chunkSize);
      copyBytes(image, at + CHUNK_INFO.digest, DIGEST_SIZE, digests, k * DIGEST_SIZE);
    }
    return digests;
  }

  /** The digests of a directory's children, concatenated. */
  #childDigests(index: number): Uint8Array {
    const { first, count } = this.source.rows.childrenOf(index);
    const digests = new Uint8Array(count * DIGEST_SIZE);
    for (let k = 0; k < count; k++) {
      const at = this.options.placeOf(first + k) + INODE.digest;
      digests.set(this.image.subarray(at, at + DIGEST_SIZE), k * DIGEST_SIZE);
    }
    return digests;
  }

  #directorySize(index: number): number {
    const { rows } = this.source;
    const { first, count } = rows.childrenOf(index);
    let size = 0;
    for (let k = 0; k < count; k++) size += rows.nameOf(first + k).length + 8;
    return Math.max(DIRECTORY_BLOCK, roundUp(size, DIRECTORY_BLOCK));
  }
}
