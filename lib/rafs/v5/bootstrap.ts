/**
 * Reader of RAFS v5 bootstraps.
 *
 * Opening reads the super block and the blob tables. Everything else is read and checked on access; see bootstrap.ts
 * for the contract of the methods.
 *
 * @module
 */
import type {
  Bootstrap,
  ChunkRecord,
  ChunkVisitor,
  Digester,
  DirVisitor,
  Extent,
  InodeAttr,
  RangeVisitor,
} from "../bootstrap.ts";
import { CHUNK_FLAG } from "../bootstrap.ts";
import { checkChunkInfo, CHUNK_INFO, type ChunkLimits, emptyChunkRecord, readChunkInfo } from "../format/chunk_info.ts";
import { DIGEST_SIZE } from "../blob/chunk_table.ts";
import { checkRequest, readU64, refuse, type Region, unreadable, viewOf } from "../format/guard.ts";
import { ImageFacts } from "../format/image_facts.ts";
import { readPrefetchTable } from "../format/prefetch_table.ts";
import { type OpenOptions, refuseUnsupported } from "../format/unsupported.ts";
import { fileExtents } from "../walk.ts";
import { readBlobTable } from "./blob_table.ts";
import { ChunkNumbers } from "./chunk_numbers.ts";
import { DirectoryReader } from "./directory.ts";
import { InodeCursor } from "./inode.ts";
import { INODE, INODE_FLAG } from "./layout.ts";
import { readSuperBlock, type SuperBlock, tablesOf } from "./super_block.ts";
import { readXattrs } from "./xattrs.ts";

const CHUNKS = "RAFS v5 chunk info";

/** A RAFS v5 bootstrap. In addition to {@link Bootstrap}, its inodes carry digests. */
export interface V5Bootstrap extends Bootstrap {
  readonly version: 5;
  /** Algorithm of every digest. */
  readonly digester: Digester;
  /** Number of inode records, one per name, numbered from 1. */
  readonly recordCount: number;
  /**
   * Returns the expected digest of a record and its input: the chunk digests of a file in order, the digests of a
   * directory's children in order, the target of a symbolic link, or nothing for other types. No digest covers metadata
   * (names, modes, owners, sizes).
   */
  recordDigest(index: number): { readonly input: Uint8Array<ArrayBuffer>; readonly expected: Uint8Array };
}

/** Whether a bootstrap is v5. */
export function isV5(tree: Bootstrap): tree is V5Bootstrap {
  return tree.version === 5;
}

/**
 * Opens a RAFS v5 bootstrap.
 *
 * @param bytes kept, never copied
 * @throws {RafsError} on damage, and "unsupported" for images whose data cannot be read
 */
export function openV5(bytes: Uint8Array, options: OpenOptions = {}): V5Bootstrap {
  const reader = new Reader(bytes);
  if (!options.treeOnly) refuseUnsupported(reader.blobs);
  return reader;
}

class Reader extends ImageFacts implements V5Bootstrap {
  readonly version = 5;
  readonly rootIno = 1;
  readonly #view: DataView;
  readonly #sb: SuperBlock;
  readonly #limits: ChunkLimits;
  readonly #inode: InodeCursor;
  readonly #directory: DirectoryReader;
  #prefetch: readonly number[] | undefined;
  /** False until it is known whether the image stores the indexes of its chunks. */
  #numbers: ChunkNumbers | undefined | false = false;

  constructor(bytes: Uint8Array) {
    const view = viewOf(bytes);
    const sb = readSuperBlock(view);
    super(bytes, sb, readBlobTable(bytes, view, sb));
    this.#view = view;
    this.#sb = sb;
    this.#inode = new InodeCursor(view, sb);
    this.#directory = new DirectoryReader(bytes, this.#inode);
    this.#limits = { blobCount: this.blobs.length, chunkSize: sb.chunkSize };
    this.#inode.loadDirectory(this.rootIno);
  }

  get prefetch(): readonly number[] {
    const { prefetchTable, inodeEntries } = this.#sb;
    return this.#prefetch ??= readPrefetchTable(this.#view, prefetchTable, inodeEntries, "RAFS v5 prefetch table");
  }

  get digester(): Digester {
    return this.#sb.digester;
  }

  get recordCount(): number {
    return this.#sb.inodeEntries;
  }

  get tables(): readonly Region[] {
    return tablesOf(this.#sb);
  }

  inodeRegions(index: number): Region[] {
    const inode = this.#inode;
    inode.loadRecord(index);
    return [{ name: `inode ${index}`, at: inode.at, size: inode.end - inode.at }];
  }

  attr(ino: number, out: InodeAttr): void {
    this.#inode.load(ino);
    this.#inode.attr(out);
  }

  lookup(dir: number, name: Uint8Array): number {
    return this.#directory.lookup(dir, name);
  }

  readdir(dir: number, cookie: number, visit: DirVisitor): void {
    this.#directory.readdir(dir, cookie, visit);
  }

  list(dir: number, cookie: number, visit: RangeVisitor): void {
    this.#directory.list(dir, cookie, visit);
  }

  readlink(ino: number): Uint8Array {
    const inode = this.#inode;
    inode.load(ino);
    if (!inode.isSymlink) unreadable("RAFS v5 symbolic link", inode.at, `inode ${ino} is not a symbolic link`);
    const target = this.bytes.subarray(inode.targetAt, inode.targetAt + inode.targetSize);
    if (target.includes(0)) unreadable("RAFS v5 symbolic link", inode.at, "target contains NUL");
    return target;
  }

  xattrs(ino: number): Iterable<readonly [Uint8Array, Uint8Array]> {
    this.#inode.load(ino);
    return readXattrs(this.bytes, this.#view, this.#inode);
  }

  extents(ino: number, offset: number, length: number): Extent[] {
    checkRequest(offset, length);
    const inode = this.#inode;
    inode.load(ino);
    if (!inode.isRegular) unreadable(CHUNKS, inode.at, `inode ${ino} is not a regular file`);
    const { chunkSize } = this.#sb;
    const { size } = inode;
    const extents: Extent[] = [];
    this.#checkChunkCount(size);
    const chunksAt = inode.chunksAt;
    const end = Math.min(size, offset + length);
    const record = emptyChunkRecord();
    for (let from = offset; from < end;) {
      const chunk = Math.floor(from / chunkSize);
      const at = chunksAt + chunk * CHUNK_INFO.SIZE;
      this.#checkChunk(at);
      this.#read(at, record);
      const chunkStart = chunk * chunkSize;
      const chunkLength = Math.min(chunkSize, size - chunkStart);
      const fileOffset = readU64(this.#view, at + CHUNK_INFO.fileOffset, CHUNKS);
      if (fileOffset !== chunkStart || record.uncompressedSize !== chunkLength) {
        unreadable(
          CHUNKS,
          at,
          `chunk ${chunk} has ${record.uncompressedSize} bytes at file offset ${fileOffset}, expected ${chunkLength} at ${chunkStart}`,
        );
      }
      const to = Math.min(end, chunkStart + chunkLength);
      extents.push({
        fileOffset: from,
        blobIndex: record.blobIndex,
        chunkIndex: record.chunkIndex,
        blobOffset: record.uncompressedOffset + from - chunkStart,
        length: to - from,
        chunkOffset: record.uncompressedOffset,
        chunkLength,
      });
      from = to;
    }
    return extents;
  }

  eachChunk(ino: number, visit: ChunkVisitor): void {
    const inode = this.#inode;
    inode.load(ino);
    for (const { blobIndex, chunkIndex, chunkLength } of fileExtents(this, ino, inode.size)) {
      visit(blobIndex, chunkIndex, chunkLength);
    }
  }

  *chunkRecords(blobIndex?: number): Generator<Readonly<ChunkRecord>> {
    const record = emptyChunkRecord();
    for (const at of this.chunkInfos(blobIndex)) {
      this.#read(at, record);
      yield record;
    }
  }

  *chunkInfos(blobIndex?: number): Generator<number> {
    const inode = new InodeCursor(this.#view, this.#sb);
    // Bounds the loop: with overlapping records, a small image could describe an unlimited number of chunks.
    let left = Math.floor(this.byteLength / CHUNK_INFO.SIZE);
    for (let index = 1; index <= this.#sb.inodeEntries; index++) {
      inode.loadRecord(index);
      if (!inode.isRegular || inode.ino !== index) continue;
      let at = inode.chunksAt;
      left -= inode.childCount;
      if (left < 0) unreadable(CHUNKS, at, "chunk infos of different files overlap");
      for (let k = 0; k < inode.childCount; k++, at += CHUNK_INFO.SIZE) {
        if (blobIndex !== undefined && this.#view.getUint32(at + CHUNK_INFO.blobIndex, true) !== blobIndex) continue;
        this.#checkChunk(at);
        yield at;
      }
    }
  }

  recordDigest(index: number): { input: Uint8Array<ArrayBuffer>; expected: Uint8Array } {
    const inode = this.#inode;
    inode.loadRecord(index);
    const digestAt = (at: number) => this.bytes.subarray(at + INODE.digest, at + INODE.digest + DIGEST_SIZE);
    const expected = digestAt(inode.at);
    if (inode.isSymlink) {
      return { input: this.bytes.slice(inode.targetAt, inode.targetAt + inode.targetSize), expected };
    }
    if (!inode.isRegular && !inode.isDirectory) return { input: new Uint8Array(0), expected };
    const { childIndex, childCount } = inode;
    const chunksAt = inode.isRegular ? inode.chunksAt : undefined;
    const input = new Uint8Array(childCount * DIGEST_SIZE);
    for (let k = 0; k < childCount; k++) {
      if (chunksAt === undefined) inode.loadRecord(childIndex + k);
      input.set(digestAt(chunksAt === undefined ? inode.at : chunksAt + k * CHUNK_INFO.SIZE), k * DIGEST_SIZE);
    }
    return { input, expected };
  }

  /** Fills `record` from the checked chunk info at `at`. */
  #read(at: number, record: ChunkRecord): void {
    readChunkInfo(this.bytes, this.#view, at, record, CHUNKS);
    if (this.#numbers === false) {
      const hasIndexes = this.#sb.extBlobTable.size > 0;
      this.#numbers = hasIndexes ? undefined : ChunkNumbers.of(this.#view, this.chunkInfos(), CHUNKS);
    }
    if (this.#numbers === undefined) return;
    record.chunkIndex = this.#numbers.numberOf(record.blobIndex, record.uncompressedOffset);
  }

  #checkChunkCount(size: number): void {
    const inode = this.#inode;
    const expected = Math.ceil(size / this.#sb.chunkSize);
    if (inode.childCount === expected) return;
    if ((inode.flags & INODE_FLAG.hasHole) !== 0) {
      refuse(`RAFS v5 inode at ${inode.at}`, "files with holes are not supported");
    }
    unreadable("RAFS v5 inode", inode.at, `${size} bytes need ${expected} chunks, it has ${inode.childCount}`);
  }

  #checkChunk(at: number): void {
    checkChunkInfo(this.#view, at, this.#limits, CHUNKS);
    if ((this.#view.getUint32(at + CHUNK_INFO.flags, true) & CHUNK_FLAG.hole) === 0) return;
    refuse(`${CHUNKS} at ${at}`, "chunks that are holes are not supported");
  }
}
