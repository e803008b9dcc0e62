/**
 * Having a chunk table fetched again that led to wrong bytes, where it may as well be right and the data at fault.
 *
 * ```
 * a chunk is wrong ──► <name>.blob.meta is set aside ──► next opening: a fresh one ──► kept, the other one goes
 *                                                             └─ cannot be had ──► the one in doubt
 * ```
 * Whichever it is, chunks are compared with their digests: those that a wrong table leads astray are errors, never wrong
 * bytes.
 *
 * @module
 */
import { Deadline, unlessAborted } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { TableSource } from "./blob_table.ts";

const log = logger("blob");

/** How long the blob's home may take for each read of a fresh table, milliseconds: readers wait that could go on. */
const FRESH_READ_MS = 10_000;

/** What a slow link carries in a millisecond: so much longer may a read take. */
const SLOW_LINK_BYTES = 256;

/**
 * What `fetch` gives, or where that is nothing of use `doubtful`.
 *
 * @param fetch reads from the source that it is given
 * @param readMs for each read, milliseconds, beside what its bytes take
 * @throws {NydusGdError} when nobody wants the table any more
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
    log.warn("chunk table in doubt is used", { blob: source.id, reason: messageOf(error) });
    return doubtful();
  }
}

/** `source`, whose reads end after `readMs` and what their bytes take. */
function impatient(source: TableSource, readMs: number): TableSource {
  const { id, signal } = source;
  const soon = async <T>(length: number, read: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const timeoutMs = readMs + Math.ceil(length / SLOW_LINK_BYTES);
    const state = `no answer within ${timeoutMs} ms`;
    const late = () => new NydusGdError("unavailable", `Cannot read chunk table of blob ${id}: ${state}`);
    using deadline = new Deadline(timeoutMs, signal, late);
    return await unlessAborted(read(deadline.signal), deadline.signal);
  };
  return {
    ...source,
    read: (offset, length) => soon(length, (signal) => source.read(offset, length, signal)),
    size: () => soon(0, (signal) => source.size(signal)),
  };
}
