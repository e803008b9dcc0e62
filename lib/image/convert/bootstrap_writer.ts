/**
 * Writers of bootstraps, whichever version.
 *
 * @module
 */
import type { ChunkRecord } from "../../rafs/bootstrap.ts";
import { type BlobEntry, BootstrapWriter as V6Writer, type InodeSpec } from "../../rafs/v6/writer.ts";
import type { RafsOptions } from "./rafs_options.ts";

/** Collects a tree and its chunks and writes them; see rafs/v6/writer.ts. */
export interface BootstrapWriter {
  addInode(spec: InodeSpec): number;
  addEntry(directory: number, name: Uint8Array, inode: number): void;
  addChunkRecord(record: Readonly<ChunkRecord>): void;
  finish(blobs: readonly BlobEntry[], prefetch?: readonly number[]): Uint8Array<ArrayBuffer>;
}

/** A writer of the version that the options name. */
export function makeBootstrapWriter({ chunkSize, compressor, digester }: RafsOptions): BootstrapWriter {
  return new V6Writer({ chunkSize, compressor, digester });
}
