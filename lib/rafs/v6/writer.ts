/**
 * Writes RAFS v6 bootstraps that this project's reader, nydusd, the kernel's EROFS and fsck.erofs accept.
 *
 * ```ts
 * const writer = new BootstrapWriter({ chunkSize: 0x100000, compressor: "zstd", digester: "sha256" });
 * const root = writer.addInode({ mode: 0o40755, uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 });
 * const file = writer.addInode({ mode: 0o100644, uid: 0, gid: 0, mtime: 1, mtimeNsec: 0, size: 0 });
 * writer.addEntry(root, new TextEncoder().encode("empty"), file);
 * const bytes = writer.finish([]);
 * ```
 * Inodes are placed in the order of addition. Content that does not fit after its inode goes to blocks at the end of
 * the tree, followed by the chunk table. Output is deterministic. All inodes are extended ones.
 *
 * @module
 */
import { roundUp } from "../../base/bytes.ts";
import type { Compressor, Digester } from "../bootstrap.ts";
import { CHUNK_INFO, copyChunkInfo } from "../format/chunk_info.ts";
import type { ChunkInfos } from "../memory/chunk_info_table.ts";
import { checkChunkSize } from "../format/flags.ts";
import { DROP_INTERVAL, type ImageMemory, ORDINARY_MEMORY } from "../memory/image_memory.ts";
import { SequentialImage } from "../memory/sequential_image.ts";
import { BLOB, BLOCK, DEVICE, INODE_SLOT } from "./layout.ts";
import { type BlobEntry, writeSuperBlocks } from "./super_block_writer.ts";
import { type InodeSpec, type MoveChunk, TreeTable, unwritable } from "./tree_table.ts";
import { type Emission, emitTree, placeTree, WRITTEN_AT_ONCE } from "./tree_placement.ts";

export type { BlobEntry } from "./super_block_writer.ts";
export type { ChunkLocation, InodeSpec, MovablePlace, MoveChunk } from "./tree_table.ts";

/** nid of the root: 4096 / 32. nids count from the last block of the tables, so that no inode has nid 0. */
const ROOT_NID = BLOCK / INODE_SLOT;
/** Maximum bootstrap size that readers accept. */
const MAX_SIZE = 2 ** 31;

/** Options of an image. */
export interface WriterOptions {
  /** Bytes of a full chunk: a power of two from 4 KiB to 16 MiB. */
  readonly chunkSize: number;
  readonly compressor: Compressor;
  readonly digester: Digester;
  /** Whether ids are stored; true by default. */
  readonly explicitUidGid?: boolean;
  /** Memory for the bootstrap; ordinary memory by default. */
  readonly memory?: ImageMemory | undefined;
}

/** Collects a tree and writes it as a bootstrap. */
export class BootstrapWriter {
  /** What is collected. Add inodes by {@link addInode} only. */
  readonly tree: TreeTable;
  /** Sources of the chunk table. */
  readonly #chunkSources: ChunkInfos[] = [];

  constructor(readonly options: WriterOptions) {
    checkChunkSize(options.chunkSize, "RAFS v6 writer options", 0);
    this.tree = new TreeTable(options.chunkSize);
  }

  /** Adds an inode; the first one is the root directory. Returns its number for {@link addEntry}, not its nid. */
  addInode(spec: InodeSpec): number {
    return this.tree.addInode(spec);
  }

  /** Gives an inode a name. A directory gets exactly one, and must be added after the directory that contains it. */
  addEntry(directory: number, name: Uint8Array, inode: number): void {
    this.tree.addEntry(directory, name, inode);
  }

  /** Adds entries to the chunk table, one per chunk that files use. They are iterated while the image is written. */
  addChunks(chunks: ChunkInfos): void {
    this.#chunkSources.push(chunks);
  }

  /** Returns the bootstrap of {@link begin}. */
  finish(...content: Parameters<BootstrapWriter["begin"]>): Uint8Array<ArrayBuffer> {
    return this.begin(...content).whole();
  }

  /**
   * Returns the bootstrap, which is written while it is read. The writer and its chunks must not change until then.
   *
   * @param blobs in index order
   * @param prefetch inodes to prefetch, by their numbers from {@link addInode}
   * @param move called for every chunk of every file, once
   * @throws {RafsError} "unsupported" when the tree is incomplete or does not fit the format
   */
  begin(blobs: readonly BlobEntry[], prefetch: readonly number[] = [], move?: MoveChunk): SequentialImage {
    if (this.tree.inodeCount === 0) unwritable("image", "it has no root");
    const sorted = this.tree.sort();
    const blobTable = roundUp(DEVICE.AT + blobs.length * DEVICE.SIZE, BLOCK);
    const prefetchTable = blobTable + blobs.length * BLOB.SIZE;
    const meta = roundUp(prefetchTable + prefetch.length * 4, BLOCK);
    const placement = placeTree(this.tree, sorted, meta);
    const chunkTable = placement.end;
    const chunkTableSize = this.#chunkSources.reduce((sum, { count }) => sum + count, 0) * CHUNK_INFO.SIZE;
    const size = roundUp(chunkTable + chunkTableSize, BLOCK);
    if (size > MAX_SIZE) unwritable("image", `the bootstrap has ${size} bytes, ${MAX_SIZE} at most`);
    const { memory = ORDINARY_MEMORY } = this.options;
    const image = memory.allocate(size);
    const view = new DataView(image.buffer);
    const metaStart = meta - BLOCK;
    const { chunkSize, compressor, digester, explicitUidGid = true } = this.options;
    writeSuperBlocks(image, view, blobs, {
      inodeCount: this.tree.inodeCount,
      rootNid: ROOT_NID,
      metaOffset: metaStart,
      chunkSize,
      compressor,
      digester,
      explicitUidGid,
      hasXattrs: this.tree.hasXattrs,
      blobTableAt: blobTable,
      chunkTable: { at: chunkTable, size: chunkTableSize },
      prefetchTable: { at: prefetchTable, size: prefetch.length * 4 },
    });
    prefetch.forEach((inode, k) => {
      if (!(inode < this.tree.inodeCount)) unwritable("prefetch table", `there is no inode ${inode}`);
      view.setUint32(prefetchTable + k * 4, (placement.atOf(inode) - metaStart) / INODE_SLOT, true);
    });
    const emission: Emission = {
      tree: this.tree,
      sorted,
      placement,
      image,
      view,
      words: new Int32Array(image.buffer),
      nid: (inode) => (placement.atOf(inode) - metaStart) / INODE_SLOT,
      chunkFormatBits: Math.log2(this.options.chunkSize / BLOCK),
      memory,
      move,
    };
    return new SequentialImage(image, this.#write(emission, chunkTable));
  }

  /** Yields the number of bytes that are final. */
  *#write(emission: Emission, chunkTable: number): Generator<number> {
    const { image, view, memory } = emission;
    yield* emitTree(emission);
    let at = chunkTable, count = 0;
    for (const source of this.#chunkSources) {
      for (const info of source.infos()) {
        copyChunkInfo(info, image, view, at);
        at += CHUNK_INFO.SIZE;
        if (++count % DROP_INTERVAL === 0) memory.dropPages();
        if (count % WRITTEN_AT_ONCE === 0) yield at;
      }
    }
    memory.dropPages();
    yield image.length;
  }
}
