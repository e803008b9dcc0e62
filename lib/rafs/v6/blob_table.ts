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
} from "../format/flags.ts";
import { hex32, readU64, refuse, unreadable } from "../format/guard.ts";
import { checkMetaSizes } from "../blob/blob_layout.ts";
import { BLOB } from "./layout.ts";
import type { SuperBlock } from "./super_block.ts";

/** Reads and checks every blob of the image. */
export function readBlobTable(bytes: Uint8Array, view: DataView, sb: SuperBlock): BlobDescriptor[] {
  const blobs: BlobDescriptor[] = [];
  const ids = new Set<string>();
  for (let index = 0; index < sb.deviceCount; index++) {
    const at = sb.blobTable.at + index * BLOB.SIZE;
    const blob = readBlob(new BlobRow(bytes, view, at, index), sb);
    if (ids.has(blob.id)) unreadable(`RAFS v6 blob ${index}`, at, `blob ${blob.id} occurs twice`);
    ids.add(blob.id);
    blobs.push(blob);
  }
  return blobs;
}

/** A row of the table. */
class BlobRow {
  readonly what: string;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly view: DataView,
    readonly at: number,
    readonly index: number,
  ) {
    this.what = `RAFS v6 blob ${index}`;
  }

  u32(field: number): number {
    return this.view.getUint32(this.at + field, true);
  }

  u64(field: number): number {
    return readU64(this.view, this.at + field, this.what);
  }

  /** A view. */
  field(from: number, length: number): Uint8Array {
    return this.bytes.subarray(this.at + from, this.at + from + length);
  }

  /** Fails with what is wrong with the field. */
  fail(field: number, state: string): never {
    unreadable(this.what, this.at + field, state);
  }

  /** Fails because something that the format allows is not supported. */
  refuse(state: string): never {
    refuse(`${this.what} at ${this.at}`, state);
  }
}

function readBlob(row: BlobRow, sb: SuperBlock): BlobDescriptor {
  const tarfs = has(sb.flags, IMAGE_FLAG.tarfs);
  const id = readId(row);
  checkPlace(row, sb);
  const features = readFeatures(row, tarfs);
  const limited = (field: number, name: string, value: number, limit: number) =>
    value <= limit ? value : row.fail(field, `${name} is ${value}, expected ${limit} at most`);
  const { compressor, digester, ciCompressor } = readAlgorithms(row);
  const meta = {
    compressor: ciCompressor,
    offset: row.u64(BLOB.ciOffset),
    compressedSize: row.u64(BLOB.ciCompressedSize),
    uncompressedSize: row.u64(BLOB.ciUncompressedSize),
  };
  const { compressedSize, uncompressedSize } = BLOB;
  const descriptor: BlobDescriptor = {
    index: row.index,
    id,
    compressor,
    digester,
    chunkSize: sb.chunkSize,
    // A tar blob has no chunk table: its chunks are the pieces that files use.
    chunkCount: tarfs ? 0 : limited(BLOB.chunkCount, "chunk count", row.u32(BLOB.chunkCount), LIMIT.chunks),
    features,
    compressedSize: limited(compressedSize, "compressed size", row.u64(compressedSize), LIMIT.compressedSize),
    uncompressedSize: limited(
      uncompressedSize,
      "uncompressed size",
      row.u64(uncompressedSize),
      LIMIT.uncompressedSize,
    ),
    meta: tarfs ? undefined : meta,
    cipher: readCipher(row),
    metaBlobId: has(features, BLOB_FEATURE.separate) ? readMetaBlobId(row) : undefined,
  };
  if (!tarfs) checkMetaSizes(descriptor, meta, row.what, row.at + BLOB.ciOffset);
  return descriptor;
}

function readId(row: BlobRow): string {
  const tag = row.field(BLOB.id, BLOB.ID_SIZE);
  const end = tag.indexOf(0);
  return readBlobId(end < 0 ? tag : tag.subarray(0, end), row.what, row.at);
}

/** Fails unless the row says that it is of this place in this image. */
function checkPlace(row: BlobRow, { chunkSize: expected }: SuperBlock): void {
  const index = row.u32(BLOB.index), chunkSize = row.u32(BLOB.chunkSize);
  if (index !== row.index) row.fail(BLOB.index, `index is ${index}`);
  if (chunkSize !== expected) row.fail(BLOB.chunkSize, `chunk size is ${chunkSize}, the image's is ${expected}`);
}

function readFeatures(row: BlobRow, tarfs: boolean): number {
  const features = row.u32(BLOB.features), cipher = row.u32(BLOB.cipher);
  if (hasUnknownFeatures(features)) row.refuse(`features ${hex32(features)} are unknown`);
  if (has(features, BLOB_FEATURE.encrypted) !== (cipher !== 0)) {
    row.fail(BLOB.cipher, `cipher is ${cipher}, features are ${hex32(features)}`);
  }
  if (has(features, BLOB_FEATURE.aligned) === tarfs) {
    row.fail(BLOB.features, `features ${hex32(features)}: ALIGNED is ${tarfs ? "set in TARFS mode" : "clear"}`);
  }
  return features;
}

function readAlgorithms(row: BlobRow) {
  const compressor = row.u32(BLOB.compressor), digester = row.u32(BLOB.digester), ci = row.u32(BLOB.ciCompressor);
  return {
    compressor: compressorOfCode(compressor) ?? row.fail(BLOB.compressor, `compressor is ${compressor}`),
    digester: digesterOfCode(digester) ?? row.fail(BLOB.digester, `digester is ${digester}`),
    ciCompressor: compressorOfCode(ci) ??
      row.fail(BLOB.ciCompressor, `compressor of the compression info is ${ci}`),
  };
}

/** Code of AES-128-XTS, the only cipher that builders support. */
const AES_128_XTS = 1;

/** Key and IV are stored in the fields that hold digest and size of the meta blob in blobs without encryption. */
function readCipher(row: BlobRow): BlobCipher | undefined {
  const code = row.u32(BLOB.cipher);
  if (code === 0) return undefined;
  if (code !== AES_128_XTS) row.refuse(`cipher ${code} is not supported`);
  return {
    key: row.field(BLOB.metaDigest, 32).slice(),
    iv: row.field(BLOB.metaSize, BLOB.cipher - BLOB.metaSize).slice(),
  };
}

/** Undefined for zeros: the bootstrap is in the meta blob itself. */
function readMetaBlobId(row: BlobRow): string | undefined {
  const digest = row.field(BLOB.metaDigest, 32);
  return digest.every((byte) => byte === 0) ? undefined : digest.toHex();
}
