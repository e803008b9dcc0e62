/**
 * Writers of bootstraps of either version.
 *
 * @module
 */
import { digest } from "../../../blob/codec/codec.ts";
import type { ChunkInfos } from "../../../rafs/memory/chunk_info_table.ts";
import type { ImageMemory } from "../../../rafs/memory/image_memory.ts";
import type { SequentialImage } from "../../../rafs/memory/sequential_image.ts";
import { BootstrapWriter as V5Writer } from "../../../rafs/v5/writer.ts";
import type { TreeTable } from "../../../rafs/v6/tree_table.ts";
import {
  type BlobEntry,
  BootstrapWriter as V6Writer,
  type InodeSpec,
  type MoveChunk,
} from "../../../rafs/v6/writer.ts";
import type { RafsOptions } from "./rafs_options.ts";

/** Collects a tree and its chunks and writes them; see rafs/v6/writer.ts. */
export interface RafsWriter {
  readonly tree: TreeTable;
  addInode(spec: InodeSpec): number;
  addEntry(directory: number, name: Uint8Array, inode: number): void;
  addChunks(chunks: ChunkInfos): void;
  finish(blobs: readonly BlobEntry[]): Uint8Array<ArrayBuffer>;
  begin(blobs: readonly BlobEntry[], prefetch: readonly number[], move: MoveChunk): SequentialImage;
}

/**
 * Returns a writer of the version in the options. v5 digests inodes: call `prepareDigests` first.
 *
 * @param memory holds the bootstrap
 */
export function makeBootstrapWriter(options: RafsOptions, memory: ImageMemory | undefined): RafsWriter {
  const { fsVersion, chunkSize, compressor, digester } = options;
  if (fsVersion === 6) return new V6Writer({ chunkSize, compressor, digester, memory });
  return new V5Writer({ chunkSize, compressor, digester, digest: (bytes) => digest(digester, bytes), memory });
}
