/**
 * One range request for chunks that lie beside each other in the blob.
 *
 * A request grows from a first unit to its neighbours on both sides. Bytes between two units that nobody asked for are
 * fetched only where that is cheaper than another request and stays within a tenth of what is wanted: what is fetched is
 * what was asked for, plus at most 10 %.
 *
 * @module
 */
import type { ChunkColumns } from "../../rafs/chunk_table.ts";
import type { ChunkIndex } from "../tables/chunk_index.ts";

/** What bounds a request, in bytes. */
export interface RequestLimits {
  /** A request of more than one unit is not longer. */
  readonly maxRequest: number;
  /** Longest gap between two units. */
  readonly maxGap: number;
}

/** Units that are fetched with one read. */
export interface PlannedRequest {
  /** Keys of chunk_index.ts, ascending by offset in the blob. */
  readonly units: readonly number[];
  /** Offset in the blob. */
  readonly offset: number;
  readonly length: number;
}

/** Gaps may be this part of the wanted bytes. */
const GAP_SHARE = 1 / 10;

/** Rows that are looked at past the last unit taken: neighbours in the blob are neighbours in the table. */
const MAX_SKIPPED = 256;

/**
 * The request that has `first` in it.
 *
 * @param wanted whether a unit is waiting to be fetched; `first` is
 */
export function planRequest(
  columns: ChunkColumns,
  index: ChunkIndex,
  first: number,
  wanted: (unit: number) => boolean,
  limits: RequestLimits,
): PlannedRequest {
  const { compressedOffset, compressedSize, uncompressedSize, count } = columns;
  const rows = index.rowsOf(first);
  const seed = rows[0] as number;
  let start = compressedOffset[seed] as number;
  let end = start + (compressedSize[seed] as number);
  let wantedBytes = end - start;
  let gapBytes = 0;
  const units = [first];

  const fits = (from: number, to: number, gap: number): boolean =>
    gap >= 0 && gap <= limits.maxGap && Math.max(end, to) - Math.min(start, from) <= limits.maxRequest &&
    gapBytes + gap <= (wantedBytes + to - from) * GAP_SHARE;

  for (const step of [1, -1]) {
    let skipped = 0;
    let last = first;
    const edge = step > 0 ? rows.at(-1) as number : seed;
    for (let row = edge + step; row >= 0 && row < count && skipped < MAX_SKIPPED; row += step) {
      const unit = index.unitOf(row);
      if (unit === last || uncompressedSize[row] === 0) continue;
      const from = compressedOffset[row] as number;
      const to = from + (compressedSize[row] as number);
      const gap = step > 0 ? from - end : start - to;
      if (gap > limits.maxGap) break;
      if (!wanted(unit)) {
        skipped++;
        continue;
      }
      if ((unit < 0 && units.includes(unit)) || !fits(from, to, gap)) break;
      gapBytes += gap;
      wantedBytes += to - from;
      start = Math.min(start, from);
      end = Math.max(end, to);
      if (step > 0) units.push(unit);
      else units.unshift(unit);
      last = unit;
      skipped = 0;
    }
  }
  return { units, offset: start, length: end - start };
}
