/**
 * Finds out which bytes of a window a slice of a gzip layer refers to: usually a tenth.
 *
 * The slice is inflated twice, with windows that differ in each byte and together tell its position. What differs in the
 * output was copied from there.
 *
 * @module
 */
import { Inflate, WINDOW_BYTES } from "../../../../ffi/libz.ts";
import type { GzipContext } from "../../../rafs/blob/gzip_context_writer.ts";

const LOW = new Uint8Array(WINDOW_BYTES).map((_, at) => at);
/** Differs from {@link LOW} by the high byte of the position plus one, which is 1 to 128. */
const HIGH = LOW.map((low, at) => low + 1 + (at >> 8));

/**
 * Returns the window without the bytes before the first one that is used, and with zeros for others that are not: these
 * compress well.
 *
 * @param slice of the layer
 */
export function usedWindow(context: Readonly<GzipContext>, slice: Uint8Array): Uint8Array<ArrayBuffer> {
  const { window } = context;
  const low = inflated(context, slice, LOW), high = inflated(context, slice, HIGH);
  const kept = new Uint8Array(window.length);
  let first = window.length;
  const mark = (at: number) => {
    const from = low[at] as number, difference = ((high[at] as number) - from) & 0xff;
    if (difference === 0) return;
    const place = from | (difference - 1) << 8;
    kept[place] = window[place] as number;
    first = Math.min(first, place);
  };
  const lowWords = new Int32Array(low.buffer), highWords = new Int32Array(high.buffer);
  for (let word = 0; word < lowWords.length; word++) {
    if (lowWords[word] === highWords[word]) continue;
    for (let at = word * 4; at < word * 4 + 4; at++) mark(at);
  }
  return kept.slice(first);
}

/** What is in the slice of its first member, the only one that can refer to the window, and zeros. */
function inflated(
  { outLength, bits, byte, window }: Readonly<GzipContext>,
  slice: Uint8Array,
  marks: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const plain = new Uint8Array(Math.ceil(outLength / 4) * 4);
  using inflate = Inflate.open();
  inflate.begin(marks.subarray(0, window.length), bits, byte >> (8 - bits));
  inflate.run(slice, plain.subarray(0, outLength));
  return plain;
}
