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
import { roundUp, writeU64 } from "../../base/bytes.ts";
import {
  type BlobDescriptor,
  type Bootstrap,
  COMPRESSOR,
  type Compressor,
  DIGESTER,
  type Digester,
} from "../bootstrap.ts";
import { CHUNK_INFO, copyChunkInfo } from "../chunk_info.ts";
import type { ChunkInfos } from "../chunk_info_table.ts";
import { EROFS_MAGIC, EROFS_SUPER_OFFSET } from "../detect.ts";
import { BLOB_FEATURE, checkChunkSize, has, IMAGE_FLAG } from "../flags.ts";
import { DROP_INTERVAL, type ImageMemory, ORDINARY_MEMORY } from "../image_memory.ts";
import { SequentialImage } from "../sequential_image.ts";
import type { CopyableTree, PlaceChunk } from "./copy_tree.ts";
import { BLOB, COMPAT_RAFS_V6, DEVICE, DEVICE_SLOT, EXT_SUPER, INCOMPAT_RAFS_V6, INODE_SLOT, SUPER } from "./layout.ts";
import { type InodeSpec, type MoveChunk, TreeTable, unwritable } from "./tree_table.ts";
import { type Emission, emitTree, placeTree, WRITTEN_AT_ONCE } from "./tree_placement.ts";

export type { ChunkPlace, InodeSpec, MovablePlace, MoveChunk } from "./tree_table.ts";

const BLOCK = 4096;
/** nid of the root: 4096 / 32. nids count from the last block of the tables, so that no inode has nid 0. */
const ROOT_NID = BLOCK / INODE_SLOT;
/** Alignment of blobs, in bytes, in the flat device as which an image can be exported. */
const DEVICE_ALIGNMENT = 0x80000;
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
  /** 16 bytes, for images that the kernel mounts; zeros by default. */
  readonly uuid?: Uint8Array | undefined;
  /** Memory for the bootstrap; ordinary memory by default. */
  readonly memory?: ImageMemory | undefined;
}

/** Entry of the blob table. */
export interface BlobEntry extends BlobDescriptor {
  /** Bytes of the ToC entries and their tar header. */
  readonly tocSize?: number;
  /** sha256 of the ToC entries and their tar header. */
  readonly tocDigest?: Uint8Array;
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

  /** Copies the whole tree of `bootstrap` into the empty writer. False if it has to be walked instead. */
  copyTree(bootstrap: Bootstrap & Partial<CopyableTree>, placeChunk: PlaceChunk): boolean {
    return bootstrap.copyTree?.(this.tree, placeChunk) ?? false;
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
    if (blobs.length > 254) unwritable("image", `${blobs.length} blobs, 254 at most`);
    const sorted = this.tree.sort();
    const blobTable = roundUp(DEVICE.AT + blobs.length * DEVICE.SIZE, BLOCK);
    const prefetchTable = blobTable + blobs.length * BLOB.SIZE;
    const meta = roundUp(prefetchTable + prefetch.length * 4, BLOCK);
    const placement = placeTree(this.tree, sorted, meta, BLOCK);
    const chunkTable = placement.end;
    const chunkTableSize = this.#chunkSources.reduce((sum, { count }) => sum + count, 0) * CHUNK_INFO.SIZE;
    const size = roundUp(chunkTable + chunkTableSize, BLOCK);
    if (size > MAX_SIZE) unwritable("image", `the bootstrap has ${size} bytes, ${MAX_SIZE} at most`);
    const { memory = ORDINARY_MEMORY } = this.options;
    const image = memory.allocate(size);
    const view = new DataView(image.buffer);
    if (this.options.uuid !== undefined) image.set(this.options.uuid, EROFS_SUPER_OFFSET + SUPER.uuid);
    this.#writeSuperBlocks(view, blobs, {
      blobTable,
      prefetchTable,
      prefetchSize: prefetch.length * 4,
      meta,
      chunkTable,
      chunkTableSize,
    });
    writeBlobs(image, view, blobs, blobTable, size);
    const metaStart = meta - BLOCK;
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
      block: BLOCK,
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

  #writeSuperBlocks(
    view: DataView,
    blobs: readonly BlobEntry[],
    at: {
      readonly blobTable: number;
      readonly prefetchTable: number;
      readonly prefetchSize: number;
      readonly meta: number;
      readonly chunkTable: number;
      readonly chunkTableSize: number;
    },
  ): void {
    const sb = EROFS_SUPER_OFFSET;
    view.setUint32(sb + SUPER.magic, EROFS_MAGIC, true);
    view.setUint32(sb + SUPER.featureCompat, COMPAT_RAFS_V6, true);
    view.setUint8(sb + SUPER.blockBits, Math.log2(BLOCK));
    view.setUint16(sb + SUPER.rootNid, ROOT_NID, true);
    writeU64(view, sb + SUPER.inodes, this.tree.inodeCount);
    view.setUint32(sb + SUPER.blocks, blobs.reduce((sum, blob) => sum + deviceBlocks(blob), 0) >>> 0, true);
    view.setUint32(sb + SUPER.metaBlock, (at.meta - BLOCK) / BLOCK, true);
    view.setUint32(sb + SUPER.featureIncompat, INCOMPAT_RAFS_V6, true);
    view.setUint16(sb + SUPER.extraDevices, blobs.length, true);
    view.setUint16(sb + SUPER.deviceSlot, DEVICE_SLOT, true);
    const ext = EXT_SUPER.AT;
    writeU64(view, ext + EXT_SUPER.flags, this.#flags(blobs));
    writeU64(view, ext + EXT_SUPER.blobTableOffset, at.blobTable);
    view.setUint32(ext + EXT_SUPER.blobTableSize, blobs.length * BLOB.SIZE, true);
    view.setUint32(ext + EXT_SUPER.chunkSize, this.options.chunkSize, true);
    writeU64(view, ext + EXT_SUPER.chunkTableOffset, at.chunkTable);
    writeU64(view, ext + EXT_SUPER.chunkTableSize, at.chunkTableSize);
    writeU64(view, ext + EXT_SUPER.prefetchTableOffset, at.prefetchSize > 0 ? at.prefetchTable : 0);
    view.setUint32(ext + EXT_SUPER.prefetchTableSize, at.prefetchSize, true);
  }

  #flags(blobs: readonly BlobEntry[]): number {
    const { compressor, digester, explicitUidGid = true } = this.options;
    const inlinedDigests = blobs.length > 0 &&
      blobs.every((blob) => has(blob.features, BLOB_FEATURE.inlinedChunkDigest));
    return {
      none: IMAGE_FLAG.compressionNone,
      lz4_block: IMAGE_FLAG.compressionLz4,
      gzip: IMAGE_FLAG.compressionGzip,
      zstd: IMAGE_FLAG.compressionZstd,
    }[compressor] +
      (digester === "blake3" ? IMAGE_FLAG.digestBlake3 : IMAGE_FLAG.digestSha256) +
      (explicitUidGid ? IMAGE_FLAG.explicitUidGid : 0) +
      (this.tree.hasXattrs ? IMAGE_FLAG.hasXattr : 0) +
      (inlinedDigests ? IMAGE_FLAG.inlinedChunkDigest : 0) +
      IMAGE_FLAG.encryptionNone;
  }
}

/** Whole blocks of a blob's address space; at least one per device. */
function deviceBlocks(blob: BlobEntry): number {
  return Math.max(1, Math.ceil(blob.uncompressedSize / BLOCK));
}

const encoder = new TextEncoder();

function writeBlobs(image: Uint8Array, view: DataView, blobs: readonly BlobEntry[], table: number, size: number): void {
  let end = size;
  blobs.forEach((blob, index) => {
    const id = encoder.encode(blob.id);
    if (id.length === 0 || id.length > BLOB.ID_SIZE) {
      unwritable("blob", `id ${JSON.stringify(blob.id)} has ${id.length} bytes`);
    }
    const device = DEVICE.AT + index * DEVICE.SIZE;
    const start = roundUp(end, DEVICE_ALIGNMENT);
    end = start + deviceBlocks(blob) * BLOCK;
    image.set(id, device + DEVICE.tag);
    view.setUint32(device + DEVICE.blocks, deviceBlocks(blob), true);
    view.setUint32(device + DEVICE.mappedBlock, start / BLOCK, true);
    const at = table + index * BLOB.SIZE;
    image.set(id, at + BLOB.id);
    view.setUint32(at + BLOB.index, index, true);
    view.setUint32(at + BLOB.chunkSize, blob.chunkSize, true);
    view.setUint32(at + BLOB.chunkCount, blob.chunkCount, true);
    view.setUint32(at + BLOB.compressor, COMPRESSOR[blob.compressor], true);
    view.setUint32(at + BLOB.digester, DIGESTER[blob.digester], true);
    view.setUint32(at + BLOB.features, blob.features, true);
    writeU64(view, at + BLOB.compressedSize, blob.compressedSize);
    writeU64(view, at + BLOB.uncompressedSize, blob.uncompressedSize);
    view.setUint32(at + BLOB.tocSize, blob.tocSize ?? 0, true);
    if (blob.tocDigest !== undefined) image.set(blob.tocDigest, at + BLOB.tocDigest);
    if (blob.meta === undefined) return;
    view.setUint32(at + BLOB.ciCompressor, COMPRESSOR[blob.meta.compressor], true);
    writeU64(view, at + BLOB.ciOffset, blob.meta.offset);
    writeU64(view, at + BLOB.ciCompressedSize, blob.meta.compressedSize);
    writeU64(view, at + BLOB.ciUncompressedSize, blob.meta.uncompressedSize);
  });
}
