/**
 * Folders of files as users name them: `dir:DIR`.
 *
 * @module
 */

const PREFIX = "dir:";

/** Returns the DIR of `dir:DIR`; undefined if `text` names something else. */
export function namedFolder(text: string): string | undefined {
  return text.startsWith(PREFIX) ? text.slice(PREFIX.length) : undefined;
}
