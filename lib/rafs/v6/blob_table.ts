/**
 * The blob table of RAFS v6: properties of each data blob and the location of its compression info.
 *
 * @module
 */
import type { BlobCipher, BlobDescriptor } from "../bootstrap.ts";
import {
  BLOB_FEATURE,
  compressorOfCode,
  digesterOfCode,
  has,
  hasUnknownFeatures,
  IMAGE_FLAG,
  LIMIT,
  readBlobId,
} from "../flags.ts";
import { hex32, readU64, refuse, unreadable } from "../guard.ts";
import { checkMetaSizes } from "../blob_layout.ts";
import { BLOB } from "./layout.ts";
import type { SuperBlock } from "./super_block.ts";

/** Reads and checks every blob of the image. */
export function readBlobTable(bytes: Uint8Array, view: DataView, sb: SuperBlock): BlobDescriptor[] {
  const blobs: BlobDescriptor[] = [];
  const ids = new Set<string>();
  for (let index = 0; index < sb.deviceCount; index++) {
    const at = sb.blobTable.at + index * BLOB.SIZE;
    const blob = readBlob(bytes, view, at, index, sb);
    if (ids.has(blob.id)) unreadable(`RAFS v6 blob ${index}`, at, `blob ${blob.id} occurs twice`);
    ids.add(blob.id);
    blobs.push(blob);
  }
  return blobs;
}

function readBlob(bytes: Uint8Array, view: DataView, at: number, index: number, sb: SuperBlock): BlobDescriptor {
  const what = `RAFS v6 blob ${index}`;
  const u32 = (field: number) => view.getUint32(at + field, true);
  const u64 = (field: number) => readU64(view, at + field, what);
  const tag = bytes.subarray(at + BLOB.id, at + BLOB.id + BLOB.ID_SIZE);
  const end = tag.indexOf(0);
  const id = readBlobId(end < 0 ? tag : tag.subarray(0, end), what, at);
  if (u32(BLOB.index) !== index) unreadable(what, at + BLOB.index, `index is ${u32(BLOB.index)}`);
  if (u32(BLOB.chunkSize) !== sb.chunkSize) {
    unreadable(what, at + BLOB.chunkSize, `chunk size is ${u32(BLOB.chunkSize)}, the image's is ${sb.chunkSize}`);
  }
  const features = u32(BLOB.features);
  if (hasUnknownFeatures(features)) refuse(`${what} at ${at}`, `features ${hex32(features)} are unknown`);
  if (has(features, BLOB_FEATURE.encrypted) !== (u32(BLOB.cipher) !== 0)) {
    unreadable(what, at + BLOB.cipher, `cipher is ${u32(BLOB.cipher)}, features are ${hex32(features)}`);
  }
  const tarfs = has(sb.flags, IMAGE_FLAG.tarfs);
  if (has(features, BLOB_FEATURE.aligned) === tarfs) {
    unreadable(
      what,
      at + BLOB.features,
      `features ${hex32(features)}: ALIGNED is ${tarfs ? "set in TARFS mode" : "clear"}`,
    );
  }
  const compressor = compressorOfCode(u32(BLOB.compressor)) ??
    unreadable(what, at + BLOB.compressor, `compressor is ${u32(BLOB.compressor)}`);
  const digester = digesterOfCode(u32(BLOB.digester)) ??
    unreadable(what, at + BLOB.digester, `digester is ${u32(BLOB.digester)}`);
  const ciCompressor = compressorOfCode(u32(BLOB.ciCompressor)) ??
    unreadable(what, at + BLOB.ciCompressor, `compressor of the compression info is ${u32(BLOB.ciCompressor)}`);
  const limited = (field: number, name: string, value: number, limit: number) =>
    value <= limit ? value : unreadable(what, at + field, `${name} is ${value}, expected ${limit} at most`);
  const meta = {
    compressor: ciCompressor,
    offset: u64(BLOB.ciOffset),
    compressedSize: u64(BLOB.ciCompressedSize),
    uncompressedSize: u64(BLOB.ciUncompressedSize),
  };
  const descriptor: BlobDescriptor = {
    index,
    id,
    compressor,
    digester,
    chunkSize: sb.chunkSize,
    // A tar blob has no chunk table: its chunks are the pieces that files use.
    chunkCount: tarfs ? 0 : limited(BLOB.chunkCount, "chunk count", u32(BLOB.chunkCount), LIMIT.chunks),
    features,
    compressedSize: limited(BLOB.compressedSize, "compressed size", u64(BLOB.compressedSize), LIMIT.compressedSize),
    uncompressedSize: limited(
      BLOB.uncompressedSize,
      "uncompressed size",
      u64(BLOB.uncompressedSize),
      LIMIT.uncompressedSize,
    ),
    meta: tarfs ? undefined : meta,
    cipher: readCipher(bytes, at, what, u32(BLOB.cipher)),
    metaBlobId: has(features, BLOB_FEATURE.separate) ? readMetaBlobId(bytes, at) : undefined,
  };
  if (!tarfs) checkMetaSizes(descriptor, meta, what, at + BLOB.ciOffset);
  return descriptor;
}

/** Code of AES-128-XTS, the only cipher that builders support. */
const AES_128_XTS = 1;

/** Key and IV are stored in the fields that hold digest and size of the meta blob in blobs without encryption. */
function readCipher(bytes: Uint8Array, at: number, what: string, code: number): BlobCipher | undefined {
  if (code === 0) return undefined;
  if (code !== AES_128_XTS) refuse(`${what} at ${at}`, `cipher ${code} is not supported`);
  const field = (from: number, length: number) => bytes.slice(at + from, at + from + length);
  return { key: field(BLOB.metaDigest, 32), iv: field(BLOB.metaSize, BLOB.cipher - BLOB.metaSize) };
}

/** Undefined for zeros: the bootstrap is in the meta blob itself. */
function readMetaBlobId(bytes: Uint8Array, at: number): string | undefined {
  const digest = bytes.subarray(at + BLOB.metaDigest, at + BLOB.metaDigest + 32);
  return digest.every((byte) => byte === 0) ? undefined : digest.toHex();
}
