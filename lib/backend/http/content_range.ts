/**
 * Parses Content-Range, which says which bytes a 206 holds. Source: RFC 9110 section 14.4.
 *
 * @module
 */

/** Bytes `first` to `last`, inclusive, of `total`. */
export interface ContentRange {
  readonly first: number;
  readonly last: number;
  /** Undefined if the server sent "*". */
  readonly total: number | undefined;
}

/** Parses `bytes 0-65535/1048576`; undefined for anything else. */
export function parseContentRange(header: string): ContentRange | undefined {
  const match = /^\s*bytes\s+(\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)\s*$/i.exec(header);
  if (match === null) return undefined;
  const [first, last] = [Number(match[1]), Number(match[2])];
  const total = match[3] === "*" ? undefined : Number(match[3]);
  if (last < first || (total !== undefined && last >= total)) return undefined;
  return { first, last, total };
}
