/**
 * Reader of RAFS v6 bootstraps: EROFS metadata images with a blob table and an optional chunk table.
 *
 * Opening reads the super blocks and the blob table. Everything else is read and checked on access; see bootstrap.ts
 * for the contract of the methods.
 *
 * @module
 */
import type {
  Bootstrap,
  ChunkRecord,
  ChunkVisitor,
  DirVisitor,
  Extent,
  InodeAttr,
  RangeVisitor,
} from "../bootstrap.ts";
import { checkChunkInfo, CHUNK_INFO, emptyChunkRecord, readChunkInfo } from "../format/chunk_info.ts";
import { compressorOf, digesterOf, has, IMAGE_FLAG } from "../format/flags.ts";
import { checkRequest, refuse, type Region, unreadable, viewOf } from "../format/guard.ts";
import { ImageFacts } from "../format/image_facts.ts";
import { S_IFMT, S_IFREG } from "../format/inode_mode.ts";
import { readPrefetchTable } from "../format/prefetch_table.ts";
import { type OpenOptions, refuseUnsupported } from "../format/unsupported.ts";
import { TreeBudget } from "../tree_budget.ts";
import { fileExtents, walkTree } from "../walk.ts";
import { readBlobTable } from "./blob_table.ts";
import { ChunkIndexCursor } from "./chunk_index.ts";
import { DirectoryReader } from "./directory.ts";
import { InodeCursor } from "./inode.ts";
import { INODE_SLOT } from "./layout.ts";
import { type PatchableTree, type PatchedTree, patchTree, type PlaceChunk } from "./patch_tree.ts";
import { readSuperBlock, type SuperBlock, tablesOf } from "./super_block.ts";
import { TarChunks } from "./tar_chunks.ts";
import { readXattrs } from "./xattrs.ts";

const CHUNKS = "RAFS v6 chunk table entry";

/**
 * Opens a RAFS v6 bootstrap.
 *
 * @param bytes kept, never copied
 * @throws {RafsError} on damage, and "unsupported" for images whose data cannot be read
 */
export function openV6(bytes: Uint8Array, options: OpenOptions): Bootstrap {
  const bootstrap = new V6Bootstrap(bytes);
  if (!options.treeOnly) refuseUnsupported(bootstrap.blobs);
  return bootstrap;
}

class V6Bootstrap extends ImageFacts implements Bootstrap, PatchableTree {
  readonly version = 6;
  readonly rootIno: number;
  readonly #view: DataView;
  readonly #sb: SuperBlock;
  readonly #inode: InodeCursor;
  readonly #directory: DirectoryReader;
  readonly #chunkIndex: ChunkIndexCursor;
  #prefetch: readonly number[] | undefined;
  #tarChunks: TarChunks | undefined;

  constructor(bytes: Uint8Array) {
    const view = viewOf(bytes);
    const sb = readSuperBlock(view);
    compressorOf(sb.flags, undefined, "RAFS v6 extended super block", 1152);
    digesterOf(sb.flags, undefined, "RAFS v6 extended super block", 1152);
    super(bytes, sb, readBlobTable(bytes, view, sb));
    this.#view = view;
    this.#sb = sb;
    this.#inode = new InodeCursor(view, sb);
    this.#directory = new DirectoryReader(bytes, view, this.#inode);
    this.rootIno = sb.rootNid;
    this.#chunkIndex = new ChunkIndexCursor(view, sb.blockSize, this.blobs.length);
    this.#inode.loadDirectory(sb.rootNid);
  }

  get prefetch(): readonly number[] {
    const most = Math.floor(this.byteLength / INODE_SLOT);
    const { prefetchTable } = this.#sb;
    return this.#prefetch ??= readPrefetchTable(this.#view, prefetchTable, most, "RAFS v6 prefetch table");
  }

  get tables(): readonly Region[] {
    return tablesOf(this.#sb);
  }

  inodeRegions(nid: number): Region[] {
    this.#inode.load(nid);
    return this.#inode.regions();
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
    this.#inode.load(ino);
    return this.#inode.linkTarget(this.bytes);
  }

  xattrs(ino: number): Iterable<readonly [Uint8Array, Uint8Array]> {
    this.#inode.load(ino);
    return readXattrs(this.bytes, this.#view, this.#inode);
  }

  extents(ino: number, offset: number, length: number): Extent[] {
    const extents = this.#storedExtents(ino, offset, length);
    if (!this.#isTarfs) return extents;
    const chunks = this.#chunksOfTars();
    return extents.map((extent) => ({ ...extent, chunkIndex: chunks.indexOf(extent.blobIndex, extent.chunkOffset) }));
  }

  eachChunk(ino: number, visit: ChunkVisitor): void {
    this.#loadFile(ino);
    const { chunksAt, chunkCount, size } = this.#inode;
    if (this.#isTarfs) {
      for (const { blobIndex, chunkIndex, chunkLength } of fileExtents(this, ino, size)) {
        visit(blobIndex, chunkIndex, chunkLength);
      }
      return;
    }
    const { chunkSize } = this.#sb;
    const index = this.#chunkIndex;
    for (let chunk = 0; chunk < chunkCount; chunk++) {
      index.load(chunksAt, chunk);
      visit(index.blobIndex, index.chunkIndex, Math.min(chunkSize, size - chunk * chunkSize));
    }
  }

  patchTree(placeChunk: PlaceChunk): PatchedTree | undefined {
    if (this.#isTarfs) return undefined; // its blocks are smaller, and its chunks numbered by walking the tree
    const { blobTable, chunkTable, metaOffset } = this.#sb;
    const source = {
      bytes: this.bytes,
      view: this.#view,
      inode: this.#inode,
      directory: this.#directory,
      chunkIndex: this.#chunkIndex,
      tables: this.tables,
      blobTableAt: blobTable.at,
      chunkTable,
      rootNid: this.rootIno,
      metaOffset,
      chunkSize: this.chunkSize,
      explicitUidGid: this.explicitUidGid,
      hasXattrs: this.hasXattrs,
    };
    return patchTree(source, placeChunk);
  }

  get #isTarfs(): boolean {
    return has(this.flags, IMAGE_FLAG.tarfs);
  }

  #chunksOfTars(): TarChunks {
    return this.#tarChunks ??= new TarChunks(this.blobs.length, this.#everyExtent());
  }

  *#everyExtent(): Generator<Extent> {
    const seen = new Set<number>();
    const budget = new TreeBudget(this.byteLength);
    for (const { ino, attr: { mode, size } } of walkTree(this)) {
      if ((mode & S_IFMT) !== S_IFREG || seen.has(ino)) continue;
      seen.add(ino);
      for (const extent of this.#storedExtents(ino, 0, size)) {
        budget.takeChunk(ino);
        yield extent;
      }
    }
  }

  #loadFile(ino: number): void {
    const inode = this.#inode;
    inode.load(ino);
    if ((inode.mode & S_IFMT) === S_IFREG) return;
    unreadable("RAFS v6 chunk indexes", inode.at, `nid ${ino} is not a regular file`);
  }

  /** Extents with the chunk numbers stored in the image. */
  #storedExtents(ino: number, offset: number, length: number): Extent[] {
    checkRequest(offset, length);
    this.#loadFile(ino);
    const inode = this.#inode;
    const extents: Extent[] = [];
    const end = Math.min(inode.size, offset + length);
    const { chunkSize } = this.#sb;
    const chunksAt = inode.chunksAt, index = this.#chunkIndex;
    for (let from = offset; from < end;) {
      const chunk = Math.floor(from / chunkSize);
      const chunkStart = chunk * chunkSize;
      const chunkLength = Math.min(chunkSize, inode.size - chunkStart);
      const to = Math.min(end, chunkStart + chunkLength);
      index.load(chunksAt, chunk);
      extents.push({
        fileOffset: from,
        blobIndex: index.blobIndex,
        chunkIndex: index.chunkIndex,
        blobOffset: index.offset + from - chunkStart,
        length: to - from,
        chunkOffset: index.offset,
        chunkLength,
      });
      from = to;
    }
    return extents;
  }

  *chunkRecords(blobIndex?: number): Generator<Readonly<ChunkRecord>> {
    if (this.#isTarfs) return yield* this.#chunksOfTars().records();
    const record = emptyChunkRecord();
    for (const at of this.chunkInfos(blobIndex)) {
      readChunkInfo(this.bytes, this.#view, at, record, CHUNKS);
      yield record;
    }
  }

  *chunkInfos(blobIndex?: number): Generator<number> {
    const { at, size } = this.#sb.chunkTable;
    if (this.#isTarfs) refuse(`${CHUNKS} at ${at}`, "the entry of a TARFS image has no meaning");
    const limits = { blobCount: this.blobs.length, chunkSize: this.#sb.chunkSize };
    for (let entry = at; entry < at + size; entry += CHUNK_INFO.SIZE) {
      if (blobIndex !== undefined && this.#view.getUint32(entry + CHUNK_INFO.blobIndex, true) !== blobIndex) continue;
      checkChunkInfo(this.#view, entry, limits, CHUNKS);
      yield entry;
    }
  }
}
