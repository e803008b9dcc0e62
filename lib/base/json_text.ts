/**
 * Text that may be JSON.
 *
 * @module
 */

/** The value of the text, undefined where it is no JSON: what a parser says of it would quote it. */
export function parseJsonText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
