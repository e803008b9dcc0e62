/**
 * What a blob of the cache works with, open or not: parts that all blobs share, and its own.
 *
 * @module
 */
import type { Limiter } from "../base/limiter.ts";
import type { BlobPaths } from "./cache/blob_paths.ts";
import type { CacheFolder } from "./cache/cache_folder.ts";
import type { WithRoom } from "./cache/cache_space.ts";
import type { CachedTable } from "./cache/cached_table.ts";
import type { FlushOptions } from "./cache/readiness.ts";
import type { Decoder } from "./decode/decoder.ts";
import type { FetchQueue } from "./fetch/fetch_queue.ts";
import type { FetchTuner } from "./fetch/fetch_tuning.ts";
import type { LinkEstimate } from "./fetch/link_estimate.ts";
import type { ResponseBuffers } from "./fetch/response_buffers.ts";
import type { BlobSources } from "./fetch/sources.ts";

/** Parts that all blobs of a cache share. */
export interface CacheParts {
  readonly folder: CacheFolder;
  readonly decoder: Decoder;
  readonly queue: FetchQueue;
  readonly link: LinkEstimate;
  readonly memory: ResponseBuffers;
  readonly tuner: FetchTuner;
  /** Limits how many blobs are transferred as a whole at a time: fetch/whole_blob.ts. */
  readonly transfers: Limiter;
  /** Undefined: nothing is recorded. */
  readonly flush: FlushOptions | undefined;
  /** Runs a write of plain bytes once there is space for them. */
  readonly room: WithRoom;
  /** Whether nothing should be added to the cache but what readers wait for: see `CacheSpace.isExhausted`. */
  readonly isExhausted: () => boolean;
}

/** One blob, whether it is open or not. */
export interface BlobContext {
  readonly id: string;
  readonly paths: BlobPaths;
  readonly sources: BlobSources;
  readonly table: CachedTable;
  readonly parts: CacheParts;
  /** Called for a chunk that was wrong after fetching it again. */
  readonly onCorrupt: (row: number) => void;
}
