/**
 * Text representation of paths.
 *
 * @module
 */

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Formats a path on one line. Control characters, and all non-ASCII bytes of invalid UTF-8, become `\\xNN`, one per
 * byte.
 */
export function pathText(path: Uint8Array): string {
  try {
    return escape(UTF8.decode(path), /\p{Cc}/gu);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // deno-lint-ignore no-control-regex -- control characters are matched on purpose
    return escape(String.fromCharCode(...path), /[\x00-\x1f\x7f-\xff]/g);
  }
}

function escape(text: string, what: RegExp): string {
  return text.replace(what, (found) => `\\x${found.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** Parses the output of {@link pathText} back to bytes. */
export function pathBytes(text: string): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const parts = text.split(/\\x([0-9a-f]{2})/); // alternates between text and hexadecimal digits
  const bytes = parts.flatMap((part, i) => i % 2 === 1 ? [parseInt(part, 16)] : [...encoder.encode(part)]);
  return Uint8Array.from(bytes);
}
