/**
 * What a converted image is like: version, compression, digests, how files are cut.
 *
 * The same input and options give the same bytes, so that {@link fingerprint} and a layer's digest name its blob.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import type { Compressor, Digester } from "../../rafs/bootstrap.ts";

/** Compressions that are written; gzip is only read. */
export type WrittenCompressor = Exclude<Compressor, "gzip">;

/** See the module. */
export interface RafsOptions {
  readonly fsVersion: 5 | 6;
  readonly compressor: WrittenCompressor;
  /** Of zstd, 1 to 22. */
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
  digester: "sha256",
  chunkSize: 512 * 1024,
  batchSize: 64 * 1024,
};

/**
 * The defaults with what differs. Batches are left out where there can be none: v5 has no table of them, and without
 * compression they gain nothing.
 *
 * @throws {NydusGdError} "usage" for a size that the format does not have
 */
export function rafsOptions(given: Partial<RafsOptions> = {}): RafsOptions {
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

/** Changes whenever the same layer would be written otherwise than by an earlier version of this program. */
const WRITER_VERSION = 3;

/** Tells results of different options apart: `v1-6-zstd3-sha256-262144-0`. */
export function fingerprint(options: RafsOptions): string {
  const { fsVersion, compressor, level, digester, chunkSize, batchSize } = options;
  return `v${WRITER_VERSION}-${fsVersion}-${compressor}${level}-${digester}-${chunkSize}-${batchSize}`;
}
