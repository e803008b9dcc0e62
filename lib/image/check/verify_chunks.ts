/**
 * Fetches every chunk of a blob, decodes it and compares it with its digest. Nothing is kept of it.
 *
 * Chunks are read in the order in which they are stored, neighbours with one request. Memory is bounded by the requests
 * that are under way. What is wrong is read once more before it counts: the link may have spoiled it.
 *
 * @module
 */
import type { BlobSource } from "../../backend/blob_source.ts";
import { throwIfAborted } from "../../base/abort.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import type { ChunkCoding, ChunkFailure } from "../../blob/decode/chunk_decoder.ts";
import type { Decoder } from "../../blob/decode/decoder.ts";
import { isDigestKnown } from "../../rafs/chunk_digests.ts";
import type { ChunkColumns } from "../../rafs/chunk_table.ts";

/** Bytes of the longest request for more than one chunk, and of a gap that is read along. */
const MAX_REQUEST = 4 << 20;
const MAX_GAP = 64 << 10;

/** Requests at once. */
const PARALLEL = 4;

/** What a verification works with. */
export interface VerifyOptions {
  readonly coding: ChunkCoding;
  readonly source: BlobSource;
  readonly decoder: Decoder;
  readonly signal: AbortSignal;
  /** Told of a chunk that is wrong, and why. */
  readonly onWrong: (chunk: number, state: string) => void;
  /** Told of stored bytes that were looked at. */
  readonly onProgress: (bytes: number) => void;
}

/** Chunks that are read with one request. */
interface Request {
  readonly rows: number[];
  readonly offset: number;
  end: number;
}

/**
 * Verifies the chunks whose digest is known.
 *
 * @returns how many that are
 * @throws {NydusGdError} "unavailable", "unauthorized", "environment", "interrupted": then it is not known what the
 * chunks are
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

/** The chunks of a request that are wrong, or could not be read. */
async function attempt(
  { rows, offset, end }: Request,
  { coding, source, decoder, signal }: VerifyOptions,
  wrongAnswers: number,
): Promise<readonly Pick<ChunkFailure, "row" | "state">[]> {
  try {
    const bytes = await source.read(offset, end - offset, { priority: "on-demand", signal, wrongAnswers });
    const failures = await decoder.verify(coding, rows, bytes, offset);
    const here = failures.find(({ code }) => code === "environment");
    if (here === undefined) return failures;
    throw new NydusGdError("environment", `Cannot check chunk: ${here.state}`, here.hint ? { hint: here.hint } : {});
  } catch (error) {
    if (!hasCode(error, "io", "not-found", "invalid-image", "corrupt")) throw error;
    return rows.map((row) => ({ row, state: `its bytes cannot be read: ${error.message.replace(/^Cannot /, "")}` }));
  }
}

/** Neighbours together, in the order in which they are stored. */
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

/** Each chunk by itself; members of one batch are stored together. */
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
