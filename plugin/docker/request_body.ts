/**
 * Reads request bodies: small ones as a whole, large ones as streams.
 *
 * @module
 */
import { concatenate } from "../../lib/base/bytes.ts";
import { messageOf, NydusGdError } from "../../lib/base/errors.ts";
import { logger } from "../../lib/base/log.ts";

/**
 * Reads the whole body.
 *
 * @throws {NydusGdError} "usage" beyond `limitBytes`
 */
export async function readBody(body: ReadableStream<Uint8Array> | null, limitBytes: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body ?? []) {
    length += piece.length;
    if (length > limitBytes) {
      throw new NydusGdError("usage", `Cannot read request: body exceeds ${limitBytes} bytes`);
    }
    pieces.push(piece);
  }
  return concatenate(pieces);
}

/** An empty stream, for a request without a body. */
export function emptyBody(): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (controller) => controller.close() });
}

/**
 * Reads and discards the rest of a body, so that the response gets read. A client that is still sending when the
 * connection closes sees a broken connection, and dockerd would repeat the call.
 *
 * @param timeoutMs gives up after this time
 */
export async function drain(body: ReadableStream<Uint8Array>, timeoutMs: number): Promise<void> {
  if (body.locked) return;
  const reader = body.getReader();
  const timer = setTimeout(() => void reader.cancel("timeout").catch(() => {}), timeoutMs);
  try {
    while (!(await reader.read()).done);
  } catch (error) {
    logger("docker").debug("the rest of a request was not read", { reason: messageOf(error) });
  } finally {
    clearTimeout(timer);
    reader.releaseLock();
  }
}
