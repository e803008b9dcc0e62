/**
 * Annotated bytes of structs shared with the kernel or a library.
 *
 * ```ts
 * goldenBytes(`
 *   2b 00 00 00   opcode: LOOKUP
 *   07            flags
 * `);
 * ```
 *
 * @module
 */

const LINE = /^\s*((?:[0-9a-f]{2} ?)+)(?: {2}.*|\s*)$/;

/** Parses the hexadecimal pairs at the start of each line; two spaces end them, the rest of the line is a remark. */
export function goldenBytes(text: string): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const pairs = LINE.exec(line)?.[1];
    if (pairs === undefined) throw new Error(`Cannot read golden bytes: line is "${line}"`);
    for (const pair of pairs.trim().split(" ")) bytes.push(parseInt(pair, 16));
  }
  return new Uint8Array(bytes);
}
