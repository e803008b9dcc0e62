/**
 * Writes the contexts of a blob whose data remain in a gzip layer: gzip_contexts.ts.
 *
 * @module
 */
import { writeU64 } from "../../base/bytes.ts";
import { CI } from "./blob_layout.ts";
import { CONTEXT } from "./gzip_contexts.ts";

/** A point at which inflating can start, and the slice of the layer that is inflated from there. */
export interface GzipContext {
  /** Offset in the layer of the first whole byte. */
  readonly inOffset: number;
  readonly inLength: number;
  /** Offset in the tar. */
  readonly outOffset: number;
  readonly outLength: number;
  /** The byte before {@link inOffset}, and how many of its high bits belong to the slice, 0 to 7. */
  readonly byte: number;
  readonly bits: number;
  /** Up to 32 KiB of the tar before {@link outOffset}. */
  readonly window: Uint8Array;
}

/** Returns the contexts, and the windows that follow them. */
export function encodeGzipContexts(contexts: readonly GzipContext[]): Uint8Array<ArrayBuffer> {
  const windowsAt = contexts.length * CI.CONTEXT_SIZE;
  const bytes = new Uint8Array(contexts.reduce((sum, { window }) => sum + window.length, windowsAt));
  const view = new DataView(bytes.buffer);
  let windowOffset = 0;
  contexts.forEach((context, k) => {
    const at = k * CI.CONTEXT_SIZE;
    writeU64(view, at + CONTEXT.inOffset, context.inOffset);
    writeU64(view, at + CONTEXT.outOffset, context.outOffset);
    writeU64(view, at + CONTEXT.windowOffset, windowOffset);
    view.setUint32(at + CONTEXT.inLength, context.inLength, true);
    view.setUint32(at + CONTEXT.outLength, context.outLength, true);
    view.setUint32(at + CONTEXT.windowSize, context.window.length, true);
    view.setUint8(at + CONTEXT.byte, context.byte);
    view.setUint8(at + CONTEXT.bits, context.bits);
    bytes.set(context.window, windowsAt + windowOffset);
    windowOffset += context.window.length;
  });
  return bytes;
}
