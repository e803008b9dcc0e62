/**
 * Plans one range request for chunks that are adjacent in the blob, or overlap as slices of a gzip layer do.
 *
 * A request grows from a first unit to its neighbours on both sides. Unwanted bytes between two units are fetched only
 * if the gap is within the limit, where it is cheaper than another request, and gaps stay within 10 % of the wanted
 * bytes.
 *
 * @module
 */
import type { ChunkColumns } from "../../rafs/blob/chunk_table.ts";
import type { ChunkIndex } from "../tables/chunk_index.ts";

/** Limits of a request, in bytes. */
export interface RequestLimits {
  /** Maximum length of a request for more than one unit. */
  readonly maxRequest: number;
  /** Maximum gap between two units. */
  readonly maxGap: number;
}

/** Units fetched with one read. */
export interface PlannedRequest {
  /** Keys as in ../tables/chunk_index.ts, ascending by offset in the blob. */
  readonly units: readonly number[];
  /** Offset in the blob. */
  readonly offset: number;
  readonly length: number;
}

/** Maximum total of gaps as a fraction of the wanted bytes. */
const GAP_SHARE = 1 / 10;

/** Maximum rows examined past the last unit taken: neighbours in the blob are neighbours in the table. */
const MAX_SKIPPED = 256;

/**
 * Plans the request that includes `first`.
 *
 * @param wanted whether a unit is waiting to be fetched; true for `first`
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

  const fits = (from: number, to: number, gap: number, step: number): boolean =>
    (step > 0 ? from >= start && to >= end : from <= start && to <= end) && gap <= limits.maxGap &&
    Math.max(end, to) - Math.min(start, from) <= limits.maxRequest &&
    gapBytes + Math.max(0, gap) <= (wantedBytes + to - from) * GAP_SHARE;

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
      if ((unit < 0 && units.includes(unit)) || !fits(from, to, gap, step)) break;
      gapBytes += Math.max(0, gap);
      wantedBytes += to - from + Math.min(0, gap);
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
