/**
 * Bytes written down with their meaning, for structs that the kernel or a library shares with us.
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

/** The bytes of lines that start with hexadecimal pairs; two spaces end them, what follows is a remark. */
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
