/**
 * Format options of a converted image: version, compression, digests, chunking.
 *
 * The same input and options give the same bytes, so {@link fingerprint} and a layer's digest identify its blob.
 *
 * @module
 */
import { NydusGdError } from "../../../base/errors.ts";
import type { Compressor, Digester } from "../../../rafs/bootstrap.ts";

/** Compressors supported for writing; gzip is only read. */
export type WrittenCompressor = Exclude<Compressor, "gzip">;

/** Format options of one conversion. */
export interface RafsOptions {
  readonly fsVersion: 5 | 6;
  readonly compressor: WrittenCompressor;
  /** zstd level, 1 to 22. */
  readonly level: number;
  readonly digester: Digester;
  /** Bytes of a full chunk: a power of two from 4 KiB to 16 MiB. */
  readonly chunkSize: number;
  /** Plain bytes up to which small files are compressed together; 0: each file by itself. */
  readonly batchSize: number;
}

/** The defaults, chosen by measurement: docs/performance.md. */
const DEFAULT_RAFS_OPTIONS: RafsOptions = {
  fsVersion: 6,
  compressor: "zstd",
  level: 3,
  digester: "blake3",
  chunkSize: 512 * 1024,
  batchSize: 64 * 1024,
};

/**
 * What differs by default for an image that is run once: smaller chunks contain less that a start does not read, and
 * cost no requests, because those that it reads are stored together.
 */
export const RUN_OPTIONS: Partial<RafsOptions> = { chunkSize: 128 * 1024 };

/**
 * The defaults with the given overrides. Batches are disabled where they are impossible or useless: v5 has no table for
 * them, and without compression they gain nothing.
 *
 * @throws {NydusGdError} "usage" for a size that the format does not support
 */
export function rafsOptions(given: Partial<RafsOptions>): RafsOptions {
  const options = { ...DEFAULT_RAFS_OPTIONS, ...given };
  const { chunkSize, level, fsVersion, compressor } = options;
  if (!(chunkSize >= 4096 && chunkSize <= 1 << 24 && (chunkSize & (chunkSize - 1)) === 0)) {
    throw new NydusGdError("usage", `Cannot convert: chunk size is ${chunkSize}`, {
      hint: "a power of two from 4KiB to 16MiB",
    });
  }
  if (!(Number.isInteger(level) && level >= 1 && level <= 22)) {
    throw new NydusGdError("usage", `Cannot convert: compression level is ${level}`, { hint: "a number from 1 to 22" });
  }
  const batches = fsVersion === 6 && compressor !== "none";
  return {
    ...options,
    level: compressor === "zstd" ? level : 0,
    batchSize: batches ? Math.min(options.batchSize, chunkSize) : 0,
  };
}

/** Incremented whenever the output for the same layer differs from that of earlier versions of this program. */
const WRITER_VERSION = 4;

/** Identifies the options in names of results: `v4-6-zstd3-sha256-524288-65536`. */
export function fingerprint(options: RafsOptions): string {
  const { fsVersion, compressor, level, digester, chunkSize, batchSize } = options;
  return `v${WRITER_VERSION}-${fsVersion}-${compressor}${level}-${digester}-${chunkSize}-${batchSize}`;
}
