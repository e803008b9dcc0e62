/**
 * Refetches a chunk table that led to wrong bytes. The table may still be right and the data wrong.
 *
 * ```
 * a chunk is wrong ──► <name>.blob.meta is set aside ──► next open: fetch a fresh table ──► kept, the old one goes
 *                                                              └─ unavailable ──► use the doubtful one
 * ```
 * Chunks are compared with their digests in either case: a wrong table causes errors, never wrong bytes.
 *
 * @module
 */
import { Deadline, unlessAborted } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { TableSource } from "./table_source.ts";

const log = logger("blob");

/**
 * Time limit for each read of a fresh table, milliseconds: readers wait that could continue with the doubtful table.
 */
const FRESH_READ_MS = 10_000;

/** Bytes that a slow link carries in a millisecond; the time limit of a read grows accordingly. */
const SLOW_LINK_BYTES = 256;

/**
 * Returns the result of `fetch`, or that of `doubtful` if `fetch` fails.
 *
 * @param fetch reads from the source passed to it
 * @param readMs time limit of each read, milliseconds, in addition to the transfer time of its bytes
 * @throws {NydusGdError} when the table is no longer needed
 */
export async function freshOr<T>(
  source: TableSource,
  fetch: (source: TableSource) => Promise<T>,
  doubtful: () => T,
  readMs: number = FRESH_READ_MS,
): Promise<T> {
  try {
    return await fetch(impatient(source, readMs));
  } catch (error) {
    if (source.signal?.aborted || !(error instanceof NydusGdError)) throw error;
    log.warn("using a chunk table that could not be checked", { blob: source.id, reason: messageOf(error) });
    return doubtful();
  }
}

/** Returns `source` with a time limit on reads: `readMs` plus the transfer time. */
function impatient(source: TableSource, readMs: number): TableSource {
  const { id, signal } = source;
  const soon = async <T>(length: number, read: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const timeoutMs = readMs + Math.ceil(length / SLOW_LINK_BYTES);
    const state = `no answer within ${timeoutMs} ms`;
    const timeoutError = () => new NydusGdError("unavailable", `Cannot read chunk table of blob ${id}: ${state}`);
    using deadline = new Deadline(timeoutMs, signal, timeoutError);
    return await unlessAborted(read(deadline.signal), deadline.signal);
  };
  return {
    ...source,
    read: (offset, length) => soon(length, (signal) => source.read(offset, length, signal)),
    size: () => soon(0, (signal) => source.size(signal)),
  };
}
