/**
 * Streams a blob from its first byte to its last. What a lost connection leaves is requested as a range.
 *
 * @module
 */
import type { HttpResponse } from "./http_response.ts";
import { rangeHeader, readRest } from "./range.ts";
import { TransferError } from "./transfer_error.ts";

/** What is still missing of a blob. */
export interface MissingRest {
  readonly signal: AbortSignal;
  /** Headers for a request of it. They change while a response is taken. */
  headers(): Readonly<Record<string, string>>;
  /** Takes it from a response below 300. @throws {TransferError} */
  take(response: HttpResponse): Promise<void>;
}

/**
 * Yields all bytes of a blob of `size` bytes.
 *
 * @param request requests what is missing, with retries. Called again after failures for as long as there is progress
 * between them
 * @throws what `request` throws
 */
export async function* wholeStream(
  size: number,
  signal: AbortSignal,
  request: (rest: MissingRest) => Promise<void>,
): AsyncGenerator<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const ended = new AbortController();
  const writer = writable.getWriter();
  const passed = pass(size, AbortSignal.any([signal, ended.signal]), (piece) => writer.write(piece), request);
  const written = passed.then(() => writer.close(), (error) => writer.abort(error));
  try {
    yield* readable;
  } finally {
    ended.abort();
    await Promise.allSettled([written]);
  }
}

async function pass(
  size: number,
  signal: AbortSignal,
  write: (piece: Uint8Array) => Promise<void>,
  request: (rest: MissingRest) => Promise<void>,
): Promise<void> {
  let at = 0;
  const rest: MissingRest = {
    signal,
    headers: () => at === 0 ? {} : { range: rangeHeader(at, size - at) },
    take: async (response) => {
      for await (const piece of readRest(response, at, size)) {
        await write(piece);
        at += piece.length;
      }
    },
  };
  while (at < size) {
    const before = at;
    try {
      await request(rest);
    } catch (error) {
      if (at === before || !(error instanceof TransferError) || error.prospect === "permanent") throw error;
    }
  }
}
