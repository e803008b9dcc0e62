/**
 * Checks one blob at its home: that it is there and whole, that its tables are those of the bootstrap, and the bytes of
 * its chunks where that is asked.
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
import { isDigestKnown } from "../../rafs/chunk_digests.ts";
import type { ChunkColumns } from "../../rafs/chunk_table.ts";
import { checkToc } from "./toc_check.ts";
import { verifyChunks } from "./verify_chunks.ts";

/** What a check of a blob works with. */
export interface BlobCheckOptions {
  readonly tree: Bootstrap;
  /** With the id that the blob has at its home. */
  readonly blob: BlobDescriptor;
  readonly source: BlobSource;
  /** The blob that has the compression info. */
  readonly metaSource: BlobSource;
  readonly chunks: ChunkCheck;
  readonly findings: Findings;
  /** Verifies every chunk; undefined: the tables are enough. */
  readonly decoder: Decoder | undefined;
  readonly signal: AbortSignal;
  readonly onWrongChunk: (chunk: number, state: string) => void;
  readonly onProgress: (bytes: number) => void;
}

/** What was looked at. */
export interface CheckedBlob {
  readonly id: string;
  /** Bytes at its home; undefined for a blob that is not there. */
  readonly bytes: number | undefined;
  readonly chunks: number;
  /** Chunks whose bytes were compared with their digest; undefined where that was not asked. */
  readonly verifiedChunks: number | undefined;
}

/**
 * Checks the blob.
 *
 * @throws {NydusGdError} what the home says when it is not known whether it has the blob: "unavailable", "unauthorized"
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

/** Where files say that a chunk is, there it must be, and its digest must be known. */
function compareClaims({ blob, chunks, findings }: BlobCheckOptions, columns: ChunkColumns): void {
  for (const { chunkIndex, offset, size } of chunks.claimsOf(blob.index)) {
    const at = columns.uncompressedOffset[chunkIndex], bytes = columns.uncompressedSize[chunkIndex];
    const wrong = at !== offset || bytes !== size
      ? `it has ${bytes} bytes at ${at}, the bootstrap says ${size} at ${offset}`
      : isDigestKnown(columns, chunkIndex)
      ? undefined
      : "nothing says its digest, so that it cannot be read";
    if (wrong !== undefined) findings.add("blob", `blob ${blob.id}`, `chunk ${chunkIndex}: ${wrong}`);
  }
}

/** What says that the blob is not as it should be is a finding. */
async function attempt<T>({ blob, findings }: BlobCheckOptions, look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (!hasCode(error, "not-found", "io", "invalid-image", "corrupt", "unsupported")) throw error;
    findings.report("blob", `blob ${blob.id}`, error);
    return undefined;
  }
}
