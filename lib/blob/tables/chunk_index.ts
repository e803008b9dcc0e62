/**
 * Lookup of chunks: by place in the uncompressed address space, and by fetch unit.
 *
 * A *unit* must be fetched as a whole: a single chunk, or a batch with all its members. Its key is the row of a single
 * chunk, or `-1 - batch` for a batch.
 *
 * @module
 */
import { type ChunkColumns, type ChunkPlaces, NO_BATCH } from "../../rafs/blob/chunk_table.ts";

/** Chunks by place. Rebuilt when rows are added. */
export class PlaceIndex {
  /** Rows with a chunk in order of their uncompressed offset; undefined: the table is already in this order. */
  readonly #order: Uint32Array | undefined;

  constructor(private readonly places: ChunkPlaces) {
    this.#order = orderOf(places);
  }

  /**
   * Returns the rows whose chunks overlap `[offset, offset + length)` of the uncompressed address space, in order of
   * offset.
   */
  rowsIn(offset: number, length: number): number[] {
    const { uncompressedOffset, uncompressedSize, count } = this.places;
    const order = this.#order;
    const total = order?.length ?? count;
    let low = 0, high = total;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const row = order === undefined ? middle : order[middle] as number;
      if ((uncompressedOffset[row] as number) + (uncompressedSize[row] as number) <= offset) low = middle + 1;
      else high = middle;
    }
    const rows: number[] = [];
    for (; low < total; low++) {
      const row = order === undefined ? low : order[low] as number;
      if ((uncompressedOffset[row] as number) >= offset + length) break;
      rows.push(row);
    }
    return rows;
  }
}

/** Lookup by place and by unit. Rebuilt when rows are added. */
export class ChunkIndex extends PlaceIndex {
  readonly #batches: Batches;

  constructor(private readonly columns: ChunkColumns) {
    super(columns);
    this.#batches = batchesOf(columns);
  }

  /** Returns the key of the unit that contains `row`. */
  unitOf(row: number): number {
    const batch = this.columns.batch[row] as number;
    return batch === NO_BATCH ? row : -1 - batch;
  }

  /** Returns the rows of a unit, ascending. */
  rowsOf(unit: number): readonly number[] {
    if (unit >= 0) return [unit];
    const { first, rows } = this.#batches;
    const batch = -1 - unit;
    return [...rows.subarray(first[batch], first[batch + 1])];
  }
}

function orderOf({ count, uncompressedOffset, uncompressedSize }: ChunkPlaces): Uint32Array | undefined {
  let known = 0, sorted = true, last = -1;
  for (let row = 0; row < count; row++) {
    if (uncompressedSize[row] === 0) continue;
    known++;
    if ((uncompressedOffset[row] as number) < last) sorted = false;
    last = uncompressedOffset[row] as number;
  }
  if (sorted && known === count) return undefined;
  const order = new Uint32Array(known);
  for (let row = 0, next = 0; row < count; row++) if (uncompressedSize[row] !== 0) order[next++] = row;
  if (!sorted) order.sort((a, b) => (uncompressedOffset[a] as number) - (uncompressedOffset[b] as number));
  return order;
}

/** Rows of all batches, grouped by batch: those of batch b are at `first[b]` to `first[b + 1]`. */
interface Batches {
  readonly first: Uint32Array;
  readonly rows: Uint32Array;
}

function batchesOf({ count, batch, batchUncompressedSize }: ChunkColumns): Batches {
  const first = new Uint32Array(batchUncompressedSize.length + 1);
  for (let row = 0; row < count; row++) {
    const index = batch[row] as number;
    if (index !== NO_BATCH) first[index + 1] = (first[index + 1] as number) + 1;
  }
  for (let index = 1; index < first.length; index++) {
    first[index] = (first[index] as number) + (first[index - 1] as number);
  }
  const rows = new Uint32Array(first.at(-1) as number);
  const next = first.slice();
  for (let row = 0; row < count; row++) {
    const index = batch[row] as number;
    if (index === NO_BATCH) continue;
    rows[next[index] as number] = row;
    next[index] = (next[index] as number) + 1;
  }
  return { first, rows };
}
