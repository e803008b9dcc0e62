/**
 * Command lines for sh.
 *
 * @module
 */

/** Quotes words for sh. */
export function shellWords(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}
