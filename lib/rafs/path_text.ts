/**
 * Paths of a tree as text.
 *
 * @module
 */

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A path as text on one line: control characters, and all beyond ASCII in what is no UTF-8, as `\\xNN` for each byte. */
export function pathText(path: Uint8Array): string {
  try {
    return escape(UTF8.decode(path), /\p{Cc}/gu);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // deno-lint-ignore no-control-regex -- they are what is looked for
    return escape(String.fromCharCode(...path), /[\x00-\x1f\x7f-\xff]/g);
  }
}

function escape(text: string, what: RegExp): string {
  return text.replace(what, (found) => `\\x${found.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** The bytes of a path as {@link pathText} writes it. */
export function pathBytes(text: string): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const parts = text.split(/\\x([0-9a-f]{2})/); // text and hexadecimal digits by turns
  const bytes = parts.flatMap((part, i) => i % 2 === 1 ? [parseInt(part, 16)] : [...encoder.encode(part)]);
  return Uint8Array.from(bytes);
}
