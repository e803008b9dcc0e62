/**
 * Which bytes of an image's blobs a list of reads covers.
 *
 * @module
 */

/** A range of the uncompressed address space of a blob, in bytes. */
export interface BlobRange {
  /** Index of the blob in the bootstrap. */
  readonly blobIndex: number;
  readonly offset: number;
  readonly length: number;
}

/** A union of ranges. */
export class ReadCoverage {
  /** Covered intervals by blob, sorted and disjoint. */
  readonly #intervals = new Map<number, { readonly start: number; end: number }[]>();

  constructor(ranges: readonly BlobRange[]) {
    for (const { blobIndex, offset, length } of ranges.toSorted((a, b) => a.offset - b.offset)) {
      let intervals = this.#intervals.get(blobIndex);
      if (intervals === undefined) this.#intervals.set(blobIndex, intervals = []);
      const last = intervals.at(-1);
      if (last !== undefined && offset <= last.end) last.end = Math.max(last.end, offset + length);
      else intervals.push({ start: offset, end: offset + length });
    }
  }

  /** Whether every byte of the range is covered. */
  has({ blobIndex, offset, length }: BlobRange): boolean {
    const intervals = this.#intervals.get(blobIndex) ?? [];
    let low = 0, high = intervals.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((intervals[middle]?.end ?? 0) < offset + length) low = middle + 1;
      else high = middle;
    }
    const interval = intervals[low];
    return interval !== undefined && interval.start <= offset;
  }
}
