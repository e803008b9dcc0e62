/**
 * Writes the super blocks of a RAFS v6 image, its device table and its blob table.
 *
 * @module
 */
import { roundUp, writeU64 } from "../../base/bytes.ts";
import { type BlobDescriptor, COMPRESSOR, type Compressor, DIGESTER, type Digester } from "../bootstrap.ts";
import { EROFS_MAGIC, EROFS_SUPER_OFFSET } from "../format/detect.ts";
import { BLOB_FEATURE, has, IMAGE_FLAG } from "../format/flags.ts";
import { BLOB, BLOCK, COMPAT_RAFS_V6, DEVICE, DEVICE_SLOT, EXT_SUPER, INCOMPAT_RAFS_V6, SUPER } from "./layout.ts";
import { unwritable } from "./tree_table.ts";

/** Alignment of blobs, in bytes, in the flat device as which an image can be exported. */
const DEVICE_ALIGNMENT = 0x80000;
/** Maximum number of blobs. */
const MAX_BLOBS = 254;

/** Entry of the blob table. */
export interface BlobEntry extends BlobDescriptor {
  /** Bytes of the ToC entries and their tar header. */
  readonly tocSize?: number;
  /** sha256 of the ToC entries and their tar header. */
  readonly tocDigest?: Uint8Array;
  /** Bytes of the blob that {@link BlobDescriptor.metaBlobId} names. */
  readonly metaBlobSize?: number;
}

/** Location of a table, in bytes; one of size 0 does not exist. */
interface Table {
  readonly at: number;
  readonly size: number;
}

/** What the super blocks say of the image besides its blobs. */
export interface SuperBlockFields {
  readonly inodeCount: number;
  readonly rootNid: number;
  /** Byte offset of nid 0. */
  readonly metaOffset: number;
  /** Bytes of a full chunk. */
  readonly chunkSize: number;
  readonly compressor: Compressor;
  readonly digester: Digester;
  readonly explicitUidGid: boolean;
  readonly hasXattrs: boolean;
  /** Byte offset of the blob table, which has a row for each blob. */
  readonly blobTableAt: number;
  readonly chunkTable: Table;
  readonly prefetchTable: Table;
}

/**
 * Writes them into `image`, where their bytes are zero.
 *
 * @param blobs in index order
 * @throws {RafsError} "unsupported" for what the format cannot represent
 */
export function writeSuperBlocks(
  image: Uint8Array<ArrayBuffer>,
  view: DataView,
  blobs: readonly BlobEntry[],
  facts: SuperBlockFields,
): void {
  if (blobs.length > MAX_BLOBS) unwritable("image", `${blobs.length} blobs, ${MAX_BLOBS} at most`);
  const sb = EROFS_SUPER_OFFSET;
  view.setUint32(sb + SUPER.magic, EROFS_MAGIC, true);
  view.setUint32(sb + SUPER.featureCompat, COMPAT_RAFS_V6, true);
  view.setUint8(sb + SUPER.blockBits, Math.log2(BLOCK));
  view.setUint16(sb + SUPER.rootNid, facts.rootNid, true);
  writeU64(view, sb + SUPER.inodes, facts.inodeCount);
  view.setUint32(sb + SUPER.blocks, blobs.reduce((sum, blob) => sum + deviceBlocks(blob), 0) >>> 0, true);
  view.setUint32(sb + SUPER.metaBlock, facts.metaOffset / BLOCK, true);
  view.setUint32(sb + SUPER.featureIncompat, INCOMPAT_RAFS_V6, true);
  view.setUint16(sb + SUPER.extraDevices, blobs.length, true);
  view.setUint16(sb + SUPER.deviceSlot, DEVICE_SLOT, true);
  const { chunkTable, prefetchTable } = facts;
  const ext = EXT_SUPER.AT;
  writeU64(view, ext + EXT_SUPER.flags, flagsOf(blobs, facts));
  writeU64(view, ext + EXT_SUPER.blobTableOffset, facts.blobTableAt);
  view.setUint32(ext + EXT_SUPER.blobTableSize, blobs.length * BLOB.SIZE, true);
  view.setUint32(ext + EXT_SUPER.chunkSize, facts.chunkSize, true);
  writeU64(view, ext + EXT_SUPER.chunkTableOffset, chunkTable.at);
  writeU64(view, ext + EXT_SUPER.chunkTableSize, chunkTable.size);
  writeU64(view, ext + EXT_SUPER.prefetchTableOffset, prefetchTable.size > 0 ? prefetchTable.at : 0);
  view.setUint32(ext + EXT_SUPER.prefetchTableSize, prefetchTable.size, true);
  writeBlobs(image, view, blobs, facts.blobTableAt, image.length);
}

function flagsOf(
  blobs: readonly BlobEntry[],
  { compressor, digester, explicitUidGid, hasXattrs }: SuperBlockFields,
): number {
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
    (hasXattrs ? IMAGE_FLAG.hasXattr : 0) +
    (inlinedDigests ? IMAGE_FLAG.inlinedChunkDigest : 0) +
    IMAGE_FLAG.encryptionNone;
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
    if (blob.metaBlobId !== undefined) {
      image.set(Uint8Array.fromHex(blob.metaBlobId), at + BLOB.metaDigest);
      writeU64(view, at + BLOB.metaSize, blob.metaBlobSize ?? 0);
    }
    if (blob.meta === undefined) return;
    view.setUint32(at + BLOB.ciCompressor, COMPRESSOR[blob.meta.compressor], true);
    writeU64(view, at + BLOB.ciOffset, blob.meta.offset);
    writeU64(view, at + BLOB.ciCompressedSize, blob.meta.compressedSize);
    writeU64(view, at + BLOB.ciUncompressedSize, blob.meta.uncompressedSize);
  });
}
