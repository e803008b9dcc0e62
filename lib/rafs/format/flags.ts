/**
 * Bits and codes shared by both versions: image flags, blob features, compressors, digesters, blob ids.
 *
 * Source: dragonflyoss/nydus rafs/src/metadata/mod.rs (RafsSuperFlags) and storage/src/device.rs (BlobFeatures).
 *
 * @module
 */
import { COMPRESSOR, type Compressor, DIGESTER, type Digester, RafsError } from "../bootstrap.ts";
import { hex32, unreadable } from "./guard.ts";

/** Flags of the super block: v5 at 16, v6 at 1152. A u64 whose upper half is zero. */
export const IMAGE_FLAG = {
  compressionNone: 0x1,
  compressionLz4: 0x2,
  digestBlake3: 0x4,
  digestSha256: 0x8,
  explicitUidGid: 0x10,
  hasXattr: 0x20,
  compressionGzip: 0x40,
  compressionZstd: 0x80,
  inlinedChunkDigest: 0x100,
  tarfs: 0x200,
  encryptionNone: 0x0100_0000,
  encryptionAes128Xts: 0x0200_0000,
} as const;

/** Known flags, and reserved ones (0x04000000 … 0x80000000) that readers ignore. */
const KNOWN_FLAGS = 0xff00_03ff;

/** Features of a blob: v6 blob table entry at 84, v5 extended blob table at 4. */
export const BLOB_FEATURE = {
  aligned: 0x1,
  inlinedFsMeta: 0x2,
  chunkInfoV2: 0x4,
  zran: 0x8,
  separate: 0x10,
  inlinedChunkDigest: 0x20,
  tarfs: 0x40,
  batch: 0x80,
  encrypted: 0x100,
  chunkDictGenerated: 0x200,
  separatedWithPrefetchFiles: 0x400,
  external: 0x800,
  hasTarHeader: 0x1000_0000,
  hasToc: 0x2000_0000,
  capTarToc: 0x4000_0000,
} as const;

/** Reports unknown features in the low half, which must be known. The upper half is informational. */
export function hasUnknownFeatures(features: number): boolean {
  return (features & 0xffff & ~0x0fff) !== 0;
}

/** Whether `bits` has all bits of `mask`; both u32. */
export function has(bits: number, mask: number): boolean {
  return (bits & mask) === mask;
}

/** Limits of a blob: storage/src/device.rs and meta/mod.rs, except `metaSize`, which is our own. */
export const LIMIT = {
  /** Chunks of one blob. */
  chunks: 1 << 24,
  /** Bytes of a chunk. */
  chunkSize: 1 << 24,
  /** Bytes of a blob in its backend. */
  compressedSize: 2 ** 40,
  /** Bytes of a blob's uncompressed address space. */
  uncompressedSize: 2 ** 44,
  /**
   * Plain bytes of compression info, which is read into memory as a whole. Enough for the maximum number of chunks
   * without batches, or for the windows of at least 12 GB of gzip.
   */
  metaSize: 2 ** 29,
} as const;

/**
 * Reads the flags word and fails on unknown bits.
 *
 * @param what "RAFS v6 super block"
 */
export function readImageFlags(view: DataView, at: number, what: string): number {
  const flags = view.getUint32(at, true);
  const high = view.getUint32(at + 4, true);
  const unknown = (flags & ~KNOWN_FLAGS) >>> 0;
  if (unknown !== 0 || high !== 0) {
    throw new RafsError(
      `Cannot read ${what} at ${at}: flags ${
        high === 0 ? hex32(unknown) : `${hex32(high)}:${hex32(unknown)}`
      } are unknown`,
      "unsupported",
    );
  }
  return flags;
}

const COMPRESSOR_FLAGS: readonly (readonly [number, Compressor])[] = [
  [IMAGE_FLAG.compressionNone, "none"],
  [IMAGE_FLAG.compressionLz4, "lz4_block"],
  [IMAGE_FLAG.compressionGzip, "gzip"],
  [IMAGE_FLAG.compressionZstd, "zstd"],
];

/** Compressor named by the flags word; `fallback` if no bit is set. More than one bit is damage. */
export function compressorOf(flags: number, fallback: Compressor | undefined, what: string, at: number): Compressor {
  const found = COMPRESSOR_FLAGS.filter(([bit]) => has(flags, bit));
  const only = found.length === 0 ? fallback : found.length === 1 ? found[0]?.[1] : undefined;
  return only ?? unreadable(what, at, `flags ${hex32(flags)} name ${found.length} compressors, expected one`);
}

/** Digester named by the flags word; `fallback` if no bit is set. Both bits set is damage. */
export function digesterOf(flags: number, fallback: Digester | undefined, what: string, at: number): Digester {
  const blake3 = has(flags, IMAGE_FLAG.digestBlake3);
  const sha256 = has(flags, IMAGE_FLAG.digestSha256);
  if (blake3 !== sha256) return blake3 ? "blake3" : "sha256";
  if (!blake3 && fallback !== undefined) return fallback;
  return unreadable(what, at, `flags ${hex32(flags)} name ${blake3 ? 2 : 0} digesters, expected one`);
}

const COMPRESSORS = Object.keys(COMPRESSOR) as Compressor[];
const DIGESTERS = Object.keys(DIGESTER) as Digester[];

/** Compressor of an on-disk code, undefined if unknown. */
export function compressorOfCode(code: number): Compressor | undefined {
  return COMPRESSORS.find((name) => COMPRESSOR[name] === code);
}

/** Digester of an on-disk code, undefined if unknown. */
export function digesterOfCode(code: number): Digester | undefined {
  return DIGESTERS.find((name) => DIGESTER[name] === code);
}

/**
 * Id under which a blob is fetched. A bootstrap inside a blob cannot contain that blob's own id, so it stores a
 * placeholder; the effective id is that of the blob in which the bootstrap was found.
 *
 * @param container id of the blob (or name of the file) that contains the bootstrap, undefined for a separate bootstrap
 */
export function effectiveBlobId(
  blob: { readonly id: string; readonly features: number },
  container: string | undefined,
): string {
  if (container === undefined) return blob.id;
  const elsewhere = has(blob.features, BLOB_FEATURE.separate) || has(blob.features, BLOB_FEATURE.external);
  const inlined = has(blob.features, BLOB_FEATURE.inlinedFsMeta) && !elsewhere;
  return inlined || !has(blob.features, BLOB_FEATURE.capTarToc) ? container : blob.id;
}

/**
 * Id of the blob that holds the compression info of a blob whose data are a separate layer; undefined if the blob holds
 * its own.
 *
 * @param container as in {@link effectiveBlobId}
 */
export function separateMetaId(
  blob: { readonly metaBlobId?: string | undefined; readonly features: number },
  container: string | undefined,
): string | undefined {
  return has(blob.features, BLOB_FEATURE.separate) ? blob.metaBlobId ?? container : undefined;
}

/** Ids that must exist in the backend of a blob. */
export function requiredBlobIds(
  { id, metaBlobId }: { readonly id: string; readonly metaBlobId?: string | undefined },
): string[] {
  return metaBlobId === undefined ? [id] : [id, metaBlobId];
}

/** Maximum characters of a blob id: with the longest cache suffix it must still be a valid file name. */
const MAX_BLOB_ID = 128;

/**
 * Reads a blob id as text. Ids become part of file names and URLs, so only letters, digits and `._-` (not first) are
 * allowed.
 */
export function readBlobId(bytes: Uint8Array, what: string, at: number): string {
  const id = String.fromCharCode(...bytes.subarray(0, MAX_BLOB_ID + 1));
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(id) || bytes.length > MAX_BLOB_ID) {
    unreadable(what, at, `blob id ${JSON.stringify(id)} is not a plain name of 1 to ${MAX_BLOB_ID} characters`);
  }
  return id;
}

/** Fails unless the chunk size is valid for v5 and v6: a power of two from 4 KiB to 16 MiB. */
export function checkChunkSize(size: number, what: string, at: number): void {
  if (size < 4096 || size > LIMIT.chunkSize || (size & (size - 1)) !== 0) {
    unreadable(what, at, `chunk size is ${size}, expected a power of two from 4096 to ${LIMIT.chunkSize}`);
  }
}
