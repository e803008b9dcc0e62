/**
 * Human-readable counts.
 *
 * @module
 */

/** Returns "0 chunks", "1 chunk", "2 chunks". */
export function countText(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
