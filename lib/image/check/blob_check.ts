/**
 * Checks one blob: its presence and size, its tables against the bootstrap, and optionally the content of its chunks.
 *
 * @module
 */
import type { BlobSource } from "../../backend/blob_source.ts";
import { hasCode } from "../../base/errors.ts";
import { loadChunkTable } from "../../blob/tables/blob_table.ts";
import type { Decoder } from "../../blob/decode/decoder.ts";
import type { BlobDescriptor, Bootstrap } from "../../rafs/bootstrap.ts";
import type { ChunkCheck } from "../../rafs/check/chunk_check.ts";
import type { Findings } from "../../rafs/check/findings.ts";
import { isDigestKnown } from "../../rafs/blob/chunk_digests.ts";
import type { ChunkColumns } from "../../rafs/blob/chunk_table.ts";
import { checkToc } from "./toc_check.ts";
import { verifyChunks } from "./verify_chunks.ts";

/** Options of {@link checkBlob}. */
export interface BlobCheckOptions {
  readonly tree: Bootstrap;
  /** With its ID in the backend. */
  readonly blob: BlobDescriptor;
  readonly source: BlobSource;
  /** The blob that contains the compression info. */
  readonly metaSource: BlobSource;
  readonly chunks: ChunkCheck;
  readonly findings: Findings;
  /** Verifies every chunk; undefined: check only the tables. */
  readonly decoder: Decoder | undefined;
  readonly signal: AbortSignal;
  readonly onWrongChunk: (chunk: number, state: string) => void;
  readonly onProgress: (bytes: number) => void;
}

/** The result for one blob. */
export interface CheckedBlob {
  readonly id: string;
  /** Size in the backend; undefined if the blob is missing. */
  readonly bytes: number | undefined;
  readonly chunks: number;
  /** Number of chunks verified against their digest; undefined if not requested. */
  readonly verifiedChunks: number | undefined;
}

/**
 * Checks a blob.
 *
 * @throws {NydusGdError} errors of the backend that leave open whether it has the blob: "unavailable", "unauthorized"
 */
export async function checkBlob(options: BlobCheckOptions): Promise<CheckedBlob> {
  const { blob, decoder, source, metaSource, findings, signal, onWrongChunk, onProgress } = options;
  const { id, compressor, digester, cipher } = blob;
  const size = await attempt(options, () => source.size(signal));
  if (size === undefined) return { id, bytes: undefined, chunks: 0, verifiedChunks: decoder && 0 };
  if (size < blob.compressedSize) {
    findings.add("blob", `blob ${id}`, `it has ${size} bytes, the bootstrap says ${blob.compressedSize}`);
  }
  const read = (offset: number, length: number) => metaSource.read(offset, length, { priority: "on-demand", signal });
  const metaSize = await attempt(options, () => metaSource.size(signal));
  if (metaSize === undefined) return { id, bytes: size, chunks: 0, verifiedChunks: decoder && 0 };
  await attempt(options, () => checkToc(blob, read, metaSize, findings));
  const columns = await attempt(options, () =>
    loadChunkTable(
      { id, descriptor: blob, records: () => options.tree.chunkRecords(), read, size: () => Promise.resolve(metaSize) },
      undefined,
    ));
  if (columns === undefined) return { id, bytes: size, chunks: 0, verifiedChunks: decoder && 0 };
  compareClaims(options, columns);
  const verifiedChunks = decoder && await verifyChunks({
    coding: { columns, compressor, digester, cipher },
    source,
    decoder,
    signal,
    onWrong: onWrongChunk,
    onProgress,
  });
  return { id, bytes: size, chunks: columns.count, verifiedChunks };
}

/** Checks that each chunk that files refer to is at the stated offset, and that its digest is known. */
function compareClaims({ blob, chunks, findings }: BlobCheckOptions, columns: ChunkColumns): void {
  for (const { chunkIndex, offset, size } of chunks.claimsOf(blob.index)) {
    const at = columns.uncompressedOffset[chunkIndex], bytes = columns.uncompressedSize[chunkIndex];
    const wrong = at !== offset || bytes !== size
      ? `it has ${bytes} bytes at ${at}, the bootstrap says ${size} at ${offset}`
      : isDigestKnown(columns, chunkIndex)
      ? undefined
      : "its digest is unknown, so it cannot be read";
    if (wrong !== undefined) findings.add("blob", `blob ${blob.id}`, `chunk ${chunkIndex}: ${wrong}`);
  }
}

/** Turns errors about the blob itself into findings. */
async function attempt<T>({ blob, findings }: BlobCheckOptions, look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (!hasCode(error, "not-found", "io", "invalid-image", "corrupt", "unsupported")) throw error;
    findings.report("blob", `blob ${blob.id}`, error);
    return undefined;
  }
}
