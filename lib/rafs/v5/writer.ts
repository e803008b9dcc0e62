/**
 * Writes RAFS v5 bootstraps that this project's reader and nydusd accept.
 *
 * ```
 * super block │ inode table │ prefetch table │ blob table │ extended blob table │ records
 * ```
 * It has the same interface as the v6 writer (../v6/writer.ts), and output is deterministic. Every name is a record,
 * numbered directory by directory, so that the children of a directory are consecutive and follow it. A further name of
 * a file is a record with the `ino` of the first name. v5 supports hard links of regular files only; hard links of
 * other inodes become separate inodes. Inode digests (record_writer.ts) follow dragonflyoss/nydus rafs/src/builder:
 * over a file's chunk digests, a link's target, or the digests of a directory's children.
 *
 * @module
 */
import { roundUp, writeU64 } from "../../base/bytes.ts";
import { type Compressor, type Digester, RafsError } from "../bootstrap.ts";
import type { ChunkInfos } from "../memory/chunk_info_table.ts";
import { V5_MAGIC, V5_VERSION } from "../format/detect.ts";
import { BLOB_FEATURE, checkChunkSize, IMAGE_FLAG } from "../format/flags.ts";
import { type ImageMemory, ORDINARY_MEMORY } from "../memory/image_memory.ts";
import { SequentialImage } from "../memory/sequential_image.ts";
import type { BlobEntry, InodeSpec, MoveChunk } from "../v6/writer.ts";
import { TreeTable } from "../v6/tree_table.ts";
import { ChunkLookup } from "./chunk_lookup.ts";
import { BLOB_HEAD, EXT_BLOB, SUPER, UNIT } from "./layout.ts";
import { RecordRows } from "./record_numbers.ts";
import { placeRecords, RecordWriter } from "./record_writer.ts";
import { encodeXattrs } from "./xattr_writer.ts";

/** Record offsets have 29 bits, in units of 8 bytes. */
const MAX_SIZE = 2 ** 32;

/** Options of an image. */
export interface WriterOptions {
  /** Bytes of a full chunk: a power of two from 4 KiB to 16 MiB. */
  readonly chunkSize: number;
  readonly compressor: Compressor;
  readonly digester: Digester;
  /** Computes a 32-byte digest with `digester`. */
  digest(bytes: Uint8Array): Uint8Array;
  /** Memory for the bootstrap; ordinary memory by default. */
  readonly memory?: ImageMemory | undefined;
}

const encoder = new TextEncoder();

/** Tables of a bootstrap: byte offsets and sizes, and numbers of entries. */
interface Tables {
  readonly inodeTable: number;
  readonly prefetchTable: number;
  readonly prefetchCount: number;
  readonly blobTable: number;
  readonly blobTableSize: number;
  readonly extTable: number;
  readonly blobCount: number;
}

/** Collects a tree and writes it as a bootstrap. */
export class BootstrapWriter {
  /** What is collected. Add inodes by {@link addInode} only. */
  readonly tree: TreeTable;
  /** Encoded extended attributes by inode. */
  readonly #xattrs = new Map<number, Uint8Array>();
  readonly #memory: ImageMemory;
  readonly #chunkSources: ChunkInfos[] = [];

  constructor(readonly options: WriterOptions) {
    checkChunkSize(options.chunkSize, "RAFS v5 writer options", 0);
    this.#memory = options.memory ?? ORDINARY_MEMORY;
    this.tree = new TreeTable(options.chunkSize);
  }

  /** Adds an inode; the first one is the root directory. Returns its number for {@link addEntry}. */
  addInode(spec: InodeSpec): number {
    const inode = this.tree.addInode(spec);
    const xattrs = encodeXattrs(spec.xattrs ?? []);
    if (xattrs.length > 0) this.#xattrs.set(inode, xattrs);
    return inode;
  }

  /** Gives an inode a name. A directory gets exactly one, and must be added after the directory that contains it. */
  addEntry(directory: number, name: Uint8Array, inode: number): void {
    this.tree.addEntry(directory, name, inode);
  }

  /** Adds chunks that files use. They are read while the image is written. */
  addChunks(chunks: ChunkInfos): void {
    this.#chunkSources.push(chunks);
  }

  /** Returns the bootstrap of {@link finish}. All of it is written at once, since digests are computed from the end. */
  begin(...content: Parameters<BootstrapWriter["finish"]>): SequentialImage {
    const image = this.finish(...content);
    return new SequentialImage(image, [image.length].values());
  }

  /**
   * Returns the bootstrap.
   *
   * @param blobs in index order
   * @param prefetch inodes to prefetch, by their numbers from {@link addInode}
   * @param move called for every chunk of every file, once
   * @throws {RafsError} "unsupported" when the tree is incomplete or does not fit the format
   */
  finish(blobs: readonly BlobEntry[], prefetch: readonly number[] = [], move?: MoveChunk): Uint8Array<ArrayBuffer> {
    if (this.tree.inodeCount === 0) unwritable("it has no root");
    const rows = new RecordRows(this.tree, this.tree.sort());
    const ids = blobIds(blobs);
    const inodeTable = SUPER.SIZE;
    const prefetchTable = roundUp(inodeTable + rows.count * 4, UNIT);
    const blobTable = roundUp(prefetchTable + prefetch.length * 4, UNIT);
    const extTable = blobTable + ids.length;
    const records = extTable + blobs.length * EXT_BLOB.SIZE;
    const source = { rows, tree: this.tree, xattrs: this.#xattrs };
    const places = placeRecords(source, records);
    const size = places.end;
    if (size > MAX_SIZE) unwritable(`the bootstrap has ${size} bytes, ${MAX_SIZE} at most`);
    const image = this.#memory.allocate(size);
    const view = new DataView(image.buffer);
    this.#writeSuperBlock(view, rows, {
      inodeTable,
      prefetchTable,
      prefetchCount: prefetch.length,
      blobTable,
      blobTableSize: ids.length,
      extTable,
      blobCount: blobs.length,
    });
    for (let index = 1; index <= rows.count; index++) {
      view.setUint32(inodeTable + (index - 1) * 4, places.at(index) / UNIT, true);
    }
    prefetch.forEach((inode, k) => view.setUint32(prefetchTable + k * 4, rows.firstOf(inode), true));
    image.set(ids, blobTable);
    blobs.forEach((blob, k) => writeExtBlob(view, extTable + k * EXT_BLOB.SIZE, blob));
    const chunks = new ChunkLookup(this.#chunkSources, this.#memory);
    new RecordWriter(image, source, {
      chunkSize: this.options.chunkSize,
      digest: (bytes) => this.options.digest(bytes),
      memory: this.#memory,
      placeOf: places.at,
      chunks,
      move,
    }).write();
    this.#memory.dropPages();
    return image;
  }

  #writeSuperBlock(view: DataView, rows: RecordRows, tables: Tables): void {
    const { chunkSize, compressor, digester } = this.options;
    view.setUint32(SUPER.magic, V5_MAGIC, true);
    view.setUint32(SUPER.version, V5_VERSION, true);
    view.setUint32(SUPER.size, SUPER.SIZE, true);
    view.setUint32(SUPER.blockSize, chunkSize, true);
    const compression = {
      none: IMAGE_FLAG.compressionNone,
      lz4_block: IMAGE_FLAG.compressionLz4,
      gzip: IMAGE_FLAG.compressionGzip,
      zstd: IMAGE_FLAG.compressionZstd,
    }[compressor];
    const flags = compression | (digester === "blake3" ? IMAGE_FLAG.digestBlake3 : IMAGE_FLAG.digestSha256) |
      IMAGE_FLAG.explicitUidGid | (this.tree.hasXattrs ? IMAGE_FLAG.hasXattr : 0);
    writeU64(view, SUPER.flags, flags >>> 0);
    writeU64(view, SUPER.inodeCount, rows.inodeCount);
    writeU64(view, SUPER.inodeTableOffset, tables.inodeTable);
    writeU64(view, SUPER.prefetchTableOffset, tables.prefetchCount > 0 ? tables.prefetchTable : 0);
    writeU64(view, SUPER.blobTableOffset, tables.blobTable);
    view.setUint32(SUPER.inodeTableEntries, rows.count, true);
    view.setUint32(SUPER.prefetchTableEntries, tables.prefetchCount, true);
    view.setUint32(SUPER.blobTableSize, tables.blobTableSize, true);
    view.setUint32(SUPER.extBlobTableEntries, tables.blobCount, true);
    writeU64(view, SUPER.extBlobTableOffset, tables.extTable);
  }
}

/** Encodes the blob table, with padding. */
function blobIds(blobs: readonly BlobEntry[]): Uint8Array {
  const ids = blobs.map(({ id }) => encoder.encode(id));
  const size = ids.reduce((sum, id) => sum + BLOB_HEAD.SIZE + id.length + 1, 0);
  const table = new Uint8Array(roundUp(Math.max(0, size - 1), UNIT));
  let at = 0;
  for (const id of ids) {
    table.set(id, at + BLOB_HEAD.SIZE);
    at += BLOB_HEAD.SIZE + id.length + 1;
  }
  return table;
}

function writeExtBlob(view: DataView, at: number, blob: BlobEntry): void {
  // Bits that describe v6 compression info have no meaning in v5.
  const features = blob.features & ~(BLOB_FEATURE.aligned | BLOB_FEATURE.chunkInfoV2 | BLOB_FEATURE.hasToc);
  view.setUint32(at + EXT_BLOB.chunkCount, blob.chunkCount, true);
  view.setUint32(at + EXT_BLOB.features, features >>> 0, true);
  writeU64(view, at + EXT_BLOB.uncompressedSize, blob.uncompressedSize);
  writeU64(view, at + EXT_BLOB.compressedSize, blob.compressedSize);
}

function unwritable(state: string): never {
  throw new RafsError(`Cannot write RAFS v5 image: ${state}`, "unsupported");
}
