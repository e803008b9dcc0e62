/**
 * Text that may be JSON.
 *
 * @module
 */

/** Parses the text; undefined if it is not JSON. Parse errors are not passed on, because they quote the text. */
export function parseJsonText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
