/**
 * Command lines for sh.
 *
 * @module
 */

/** A command line that means exactly these words. */
export function shellWords(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}
