/**
 * Chunks of existing images: files of a new image refer to them instead of storing them again.
 *
 * The blobs must be where the new image's blobs are, or readers will not find the data. Whoever pushes the image has to
 * ensure that.
 *
 * @module
 */
import { readU32, readU64, toByteString } from "../../../base/bytes.ts";
import { NydusGdError } from "../../../base/errors.ts";
import type { BlobDescriptor, Bootstrap } from "../../../rafs/bootstrap.ts";
import { CHUNK_INFO } from "../../../rafs/format/chunk_info.ts";
import { DIGEST_SIZE } from "../../../rafs/blob/chunk_table.ts";
import { BLOB_FEATURE } from "../../../rafs/format/flags.ts";
import { viewOf } from "../../../rafs/format/guard.ts";
import type { RafsOptions } from "../format/rafs_options.ts";

/** A blob of another image. */
export interface DictionaryBlob {
  readonly descriptor: BlobDescriptor;
}

/** A chunk of another image. */
export interface DictionaryChunk {
  readonly blob: DictionaryBlob;
  readonly chunkIndex: number;
  readonly uncompressedOffset: number;
  /** Its chunk info. */
  readonly info: Uint8Array;
}

/** Features of blobs whose chunks cannot be shared: the data is in another blob, or not stored as chunks. */
const UNSHARED = BLOB_FEATURE.zran | BLOB_FEATURE.separate | BLOB_FEATURE.tarfs | BLOB_FEATURE.encrypted |
  BLOB_FEATURE.external;

/** Lookup of existing chunks by digest. Memory: about 300 bytes per chunk. */
export class ChunkDictionary {
  readonly #chunks = new Map<string, DictionaryChunk>();

  /**
   * @param bootstraps merged bootstraps with real blob ids
   * @throws {NydusGdError} "usage" for an image of another version, digest or chunk size; for v5, where one compressor
   * holds for all blobs, also for another compressor
   */
  constructor(bootstraps: readonly Bootstrap[], options: RafsOptions) {
    for (const bootstrap of bootstraps) this.#add(bootstrap, options);
  }

  /** @param digest of the plain chunk, as a ByteString */
  find(digest: string): DictionaryChunk | undefined {
    return this.#chunks.get(digest);
  }

  #add(bootstrap: Bootstrap, { fsVersion, chunkSize, digester, compressor }: RafsOptions): void {
    const refuse = (state: string) => {
      const hint = "convert with the options of the dictionary";
      return new NydusGdError("usage", `Cannot use chunk dictionary: ${state}`, { hint });
    };
    if (bootstrap.version !== fsVersion) throw refuse(`it is RAFS v${bootstrap.version}, the image v${fsVersion}`);
    if (bootstrap.chunkSize !== chunkSize) {
      throw refuse(`its chunks have ${bootstrap.chunkSize} bytes, not ${chunkSize}`);
    }
    const blobs = bootstrap.blobs.map((descriptor): DictionaryBlob | undefined => {
      if (descriptor.digester !== digester) throw refuse(`its digests are ${descriptor.digester}, not ${digester}`);
      if (fsVersion === 5 && descriptor.compressor !== compressor) {
        throw refuse(`its chunks are compressed by ${descriptor.compressor}, not ${compressor}`);
      }
      const isShared = (descriptor.features & UNSHARED) === 0 && descriptor.chunkCount > 0; // 0: of an old image
      return isShared ? { descriptor } : undefined;
    });
    const { bytes } = bootstrap;
    const view = viewOf(bytes);
    for (const at of bootstrap.chunkInfos()) {
      const blob = blobs[readU32(view, at + CHUNK_INFO.blobIndex)];
      const key = toByteString(bytes.subarray(at, at + DIGEST_SIZE));
      if (blob === undefined || this.#chunks.has(key)) continue;
      const chunkIndex = readU32(view, at + CHUNK_INFO.index);
      const uncompressedOffset = readU64(view, at + CHUNK_INFO.uncompressedOffset);
      const info = bytes.slice(at, at + CHUNK_INFO.SIZE);
      this.#chunks.set(key, { blob, chunkIndex, uncompressedOffset, info });
    }
  }
}
