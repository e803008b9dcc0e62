/**
 * Fetches every chunk of a blob, decodes it and verifies its digest. Keeps no data.
 *
 * Chunks are read in storage order, adjacent ones with one request. Memory is limited by the number of requests in
 * flight. A corrupt chunk is fetched once more before it is reported, since the transfer may have corrupted it.
 *
 * @module
 */
import type { BlobSource } from "../../backend/blob_source.ts";
import { throwIfAborted } from "../../base/abort.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import type { ChunkCoding, ChunkFailure } from "../../blob/decode/chunk_decoder.ts";
import type { Decoder } from "../../blob/decode/decoder.ts";
import { isDigestKnown } from "../../rafs/blob/chunk_digests.ts";
import type { ChunkColumns } from "../../rafs/blob/chunk_table.ts";

/** Maximum bytes of a request for several chunks, and of a gap within it. */
const MAX_REQUEST = 4 << 20;
const MAX_GAP = 64 << 10;

/** Maximum concurrent requests. */
const PARALLEL = 4;

/** Options of {@link verifyChunks}. */
export interface VerifyOptions {
  readonly coding: ChunkCoding;
  readonly source: BlobSource;
  readonly decoder: Decoder;
  readonly signal: AbortSignal;
  /** Called for each corrupt chunk, with the reason. */
  readonly onWrong: (chunk: number, state: string) => void;
  /** Called with the number of compressed bytes processed. */
  readonly onProgress: (bytes: number) => void;
}

/** Chunks to read with one request. */
interface Request {
  readonly rows: number[];
  readonly offset: number;
  end: number;
}

/**
 * Verifies all chunks whose digest is known.
 *
 * @returns the number of these chunks
 * @throws {NydusGdError} "unavailable", "unauthorized", "environment", "interrupted" if chunks could not be verified
 */
export async function verifyChunks(options: VerifyOptions): Promise<number> {
  const { coding: { columns }, signal } = options;
  const running = new Set<Promise<void>>();
  let chunks = 0;
  let failure: { readonly error: unknown } | undefined;
  for (const request of requestsOf(columns)) {
    throwIfAborted(signal);
    if (failure !== undefined) break;
    chunks += request.rows.length;
    const work = verifyRequest(request, options)
      .catch((error) => void (failure ??= { error }))
      .finally(() => running.delete(work));
    running.add(work);
    while (running.size >= PARALLEL) await Promise.race(running);
  }
  await Promise.all(running);
  if (failure !== undefined) throw failure.error;
  return chunks;
}

async function verifyRequest(request: Request, options: VerifyOptions): Promise<void> {
  const failures = await attempt(request, options, 0);
  for (const unit of unitsOf(options.coding.columns, failures.map(({ row }) => row))) {
    for (const { row, state } of await attempt(unit, options, 1)) options.onWrong(row, state);
  }
  options.onProgress(request.end - request.offset);
}

/** Returns the chunks of a request that are corrupt or unreadable. */
async function attempt(
  { rows, offset, end }: Request,
  { coding, source, decoder, signal }: VerifyOptions,
  corruptResponses: number,
): Promise<readonly Pick<ChunkFailure, "row" | "state">[]> {
  try {
    const bytes = await source.read(offset, end - offset, { priority: "on-demand", signal, corruptResponses });
    const failures = await decoder.verify(coding, { rows, stored: bytes, offset });
    const here = failures.find(({ code }) => code === "environment");
    if (here === undefined) return failures;
    throw new NydusGdError("environment", `Cannot check chunk: ${here.state}`, here.hint ? { hint: here.hint } : {});
  } catch (error) {
    if (!hasCode(error, "io", "not-found", "invalid-image", "corrupt")) throw error;
    return rows.map((row) => ({ row, state: `its bytes cannot be read: ${error.message.replace(/^Cannot /, "")}` }));
  }
}

/** Merges neighbouring chunks into requests, in storage order. */
function* requestsOf(columns: ChunkColumns): Generator<Request> {
  const { compressedOffset, compressedSize } = columns;
  const rows = Uint32Array.from(knownRows(columns))
    .sort((a, b) => (compressedOffset[a] as number) - (compressedOffset[b] as number));
  let request: Request | undefined;
  for (const row of rows) {
    const offset = compressedOffset[row] as number, end = offset + (compressedSize[row] as number);
    const fits = request !== undefined && offset <= request.end + MAX_GAP &&
      Math.max(end, request.end) - request.offset <= MAX_REQUEST;
    if (request !== undefined && fits) {
      request.rows.push(row);
      request.end = Math.max(request.end, end);
      continue;
    }
    if (request !== undefined) yield request;
    request = { rows: [row], offset, end };
  }
  if (request !== undefined) yield request;
}

/** Returns one request per chunk; the members of a batch share one. */
function unitsOf({ compressedOffset, compressedSize }: ChunkColumns, rows: readonly number[]): Request[] {
  const units = new Map<number, Request>();
  for (const row of rows) {
    const offset = compressedOffset[row] as number;
    const unit = units.get(offset);
    if (unit === undefined) units.set(offset, { rows: [row], offset, end: offset + (compressedSize[row] as number) });
    else unit.rows.push(row);
  }
  return [...units.values()];
}

function* knownRows(columns: ChunkColumns): Generator<number> {
  for (let row = 0; row < columns.count; row++) {
    if (columns.uncompressedSize[row] !== 0 && isDigestKnown(columns, row)) yield row;
  }
}
