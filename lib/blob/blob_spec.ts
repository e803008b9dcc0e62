/**
 * One image's description of a blob: what the cache needs to fetch and verify it.
 *
 * @module
 */
import type { BlobSource } from "../backend/blob_source.ts";
import type { BlobDescriptor, ChunkRecord } from "../rafs/bootstrap.ts";
import type { DemandedChunk } from "./fetch/chunk_fetcher.ts";

/** One image's description of a blob. */
export interface BlobSpec {
  readonly descriptor: BlobDescriptor;
  /** Name of the blob if the descriptor has a placeholder: `effectiveBlobId` of rafs/format/flags.ts. */
  readonly id?: string;
  readonly source: BlobSource;
  /** The blob that holds the compression info, and its id; absent: it is in `source`. */
  readonly metaSource?: BlobSource | undefined;
  readonly metaId?: string | undefined;
  /** The chunk records of the image; those of other blobs are ignored. Called while the image is open. */
  readonly records: () => Iterable<Readonly<ChunkRecord>>;
  /** `.blob.meta` shipped with the image, in the form of the blob or of the cache. */
  readonly embeddedMeta?: Uint8Array;
  /** Notified of the chunks that readers of the image wait for, and of those fetched along with them. */
  readonly onDemand?: (chunk: DemandedChunk) => void;
}
