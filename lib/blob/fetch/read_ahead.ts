/**
 * Decides what to fetch along with a chunk that a reader waits for.
 *
 * - *Neighbours*: chunks around the wanted one in the blob, as many as are nearly free. Those behind it arrive after
 *   it, in time that the link would spend waiting for the next request, so they may be half of what it carries during
 *   its latency. Those before it delay it, so they are limited to a fifth of that. On a slow link these are a few small
 *   files, on a fast and distant one a megabyte, from a local directory next to nothing. They are part of the wanted
 *   chunk's request.
 * - *Surroundings*: on a link so fast that only the limit bounds the neighbours, more of what follows, in a request of
 *   its own. A program that starts often reads nearby next, and waits for the link's latency each time.
 * - *Streams*: a reader that continues where its last chunks ended gets a window ahead of it, doubled with each step up
 *   to what keeps the link busy. The chunks behind the awaited one are part of its request. The window is refilled when
 *   half of it is used up, so that requests are long and the link is busy while the reader is.
 *
 * In a file of which it is known what will be read (a library), neighbours and streams end with that file, as what its
 * readers read next elsewhere is seldom beside it. Surroundings, which delay nothing, begin there.
 *
 * While the speed of the link is unknown, no neighbours are fetched: a reader of little causes little traffic.
 *
 * Reads of cached chunks are not observed, except of the watched one, in the middle of a window. A stream continues
 * when its reader reaches that chunk, waits for one still in flight, or reaches the end of the window.
 *
 * @module
 */
import type { ChunkColumns } from "../../rafs/blob/chunk_table.ts";
import type { LinkEstimate, LinkSpeed } from "./link_estimate.ts";

/** Maximum time for which neighbours, or surroundings, may occupy the link, milliseconds, however high its latency. */
const MAX_NEIGHBOUR_MS = 25;

/** Window sizes of a stream while the speed of the link is unknown, bytes. */
const UNKNOWN_LINK_WINDOW = { first: 128 * 1024, largest: 2 * 1024 * 1024 } as const;

/** Neighbours behind a chunk, as a maximum fraction of what the link carries during its latency. */
const NEIGHBOUR_SHARE = 1 / 2;

/** Neighbours before a chunk, as a fraction of those behind it. */
const BEFORE_SHARE = 1 / 5;

/** Maximum distance of surroundings from a chunk, as a multiple of the limit of neighbours. */
const SURROUNDINGS_SHARE = 4;

/** Maximum window of a stream, as a multiple of what the link carries during its latency… */
const WINDOW_SHARE = 4;

/** …or in this many milliseconds, whichever is more. */
const WINDOW_MS = 100;

/** Maximum window of a stream, bytes. */
const MAX_WINDOW_BYTES = 16 * 1024 * 1024;

/** Maximum streams remembered per blob. */
const MAX_STREAMS = 16;

/** Maximum gap in the blob that a window spans, bytes. */
const MAX_GAP_BYTES = 64 * 1024;

/** A sequential reader of the blob; rows of the chunk table. */
interface Stream {
  /** Last chunk that it requested. */
  last: number;
  /** First chunk after its window. */
  next: number;
  /** End of the window in the blob. */
  end: number;
  windowBytes: number;
}

/** What to fetch in addition to what a reader waits for. */
export interface Ahead {
  /** Chunks to fetch, ascending. */
  readonly ahead: readonly number[];
  /** Chunks to fetch in a request of their own, ascending. */
  readonly surroundings?: readonly number[];
  /** The chunk to watch for the reader. */
  readonly watch?: number | undefined;
}

/** The chunks among which read-ahead is: those of a confined file, or all of the blob. */
interface Area {
  readonly columns: ChunkColumns;
  has(row: number): boolean;
}

const NOTHING: Ahead = { ahead: [] };

/** The readers of one blob. */
export class ReadAhead {
  /** In order of use, most recent last. */
  readonly #streams: Stream[] = [];
  /** Ends of files in the uncompressed address space by their starts, bytes. */
  readonly #files = new Map<number, number>();

  /**
   * @param link estimate of the link to the backends
   * @param maxBytes called each time: maximum bytes by which a read is extended; 0: no read-ahead
   * @param hasSurroundings called each time: whether surroundings are fetched
   */
  constructor(
    private readonly link: LinkEstimate,
    private readonly maxBytes: () => number,
    private readonly hasSurroundings: () => boolean,
  ) {}

  /** Keeps neighbours and streams of a file, which starts at `offset` of the uncompressed address space, within it. */
  confine(offset: number, length: number): void {
    this.#files.set(offset, Math.max(offset + length, this.#files.get(offset) ?? 0));
  }

  /**
   * Handles a reader at chunks `first` to `last`, which it waits for or has reached.
   *
   * @param wanted whether a chunk is neither cached nor in flight
   */
  after(columns: ChunkColumns, first: number, last: number, wanted: (row: number) => boolean): Ahead {
    const limit = this.maxBytes();
    if (limit <= 0) return NOTHING;
    const { speed } = this.link;
    const nearBytes = Math.min(limit, carriedBytes(speed, NEIGHBOUR_SHARE));
    const stream = this.#find(first);
    if (stream !== undefined && last <= stream.last) return NOTHING; // another read of the same chunk
    const area = { columns, has: this.#fileAround(columns, first) };
    const ahead: number[] = [];
    if (stream === undefined) {
      walkBack(area, first, nearBytes * BEFORE_SHARE, (row) => {
        if (!wanted(row)) return false;
        ahead.unshift(row);
        return true;
      });
    } else if (stream.end - endOf(columns, last) > stream.windowBytes / 2) {
      this.#remember(stream, { ...stream, last });
      return NOTHING;
    }
    const windowBytes = stream === undefined ? 0 : nextWindow(Math.max(stream.windowBytes, nearBytes), speed);
    let watch: number | undefined;
    const { next, end } = walk(area, last, Math.max(nearBytes, windowBytes), (row, distance) => {
      if (wanted(row)) ahead.push(row);
      if (distance >= windowBytes / 2) watch ??= row;
    });
    const window = stream !== undefined && stream.next > next ? stream : { next, end };
    this.#remember(stream, { last, next: window.next, end: window.end, windowBytes });
    if (stream !== undefined) return { ahead, watch };
    if (nearBytes < limit || !this.hasSurroundings()) return { ahead };
    const neighbours = new Set(ahead);
    const isFurther = (row: number) => !neighbours.has(row) && wanted(row);
    return { ahead, surroundings: surroundingsOf(columns, last, { nearBytes, speed, wanted: isFurther }) };
  }

  /** Returns whether a chunk belongs to the confined file of chunk `first`; true if it has none. */
  #fileAround({ uncompressedOffset }: ChunkColumns, first: number): (row: number) => boolean {
    const place = uncompressedOffset[first] as number;
    for (const [start, end] of this.#files) {
      if (start > place || place >= end) continue;
      return (row) => start <= (uncompressedOffset[row] as number) && (uncompressedOffset[row] as number) < end;
    }
    return () => true;
  }

  /** Finds the stream whose reader may have reached `row`. */
  #find(row: number): Stream | undefined {
    return this.#streams.findLast(({ last, next }) => row >= last && row <= next);
  }

  #remember(before: Stream | undefined, stream: Stream): void {
    if (before !== undefined) this.#streams.splice(this.#streams.indexOf(before), 1);
    this.#streams.push(stream);
    if (this.#streams.length > MAX_STREAMS) this.#streams.shift();
  }
}

/** Bytes that the link carries in a fraction of its latency, at most in {@link MAX_NEIGHBOUR_MS}. */
function carriedBytes(speed: LinkSpeed | undefined, share: number): number {
  return speed === undefined ? 0 : Math.min(speed.latencyMs * share, MAX_NEIGHBOUR_MS) * speed.bytesPerMs;
}

/** Returns the wanted chunks behind `last` within the distance of surroundings. */
function surroundingsOf(
  columns: ChunkColumns,
  last: number,
  { nearBytes, speed, wanted }: {
    readonly nearBytes: number;
    readonly speed: LinkSpeed | undefined;
    readonly wanted: (row: number) => boolean;
  },
): readonly number[] {
  const rows: number[] = [];
  const bytes = Math.min(nearBytes * SURROUNDINGS_SHARE, carriedBytes(speed, 1));
  walk({ columns, has: () => true }, last, bytes, (row) => {
    if (wanted(row)) rows.push(row);
  });
  return rows;
}

/** Returns the size of the window that follows one of `bytes`. */
function nextWindow(bytes: number, speed: LinkSpeed | undefined): number {
  if (speed !== undefined) {
    const busyMs = Math.max(WINDOW_MS, speed.latencyMs * WINDOW_SHARE);
    return Math.min(2 * bytes, busyMs * speed.bytesPerMs, MAX_WINDOW_BYTES);
  }
  return Math.min(Math.max(2 * bytes, UNKNOWN_LINK_WINDOW.first), UNKNOWN_LINK_WINDOW.largest);
}

/**
 * Visits the chunks that follow `last` in the blob, as long as they end within `bytes` of its end.
 *
 * @returns the row after the last visited one, and the end of that one
 */
function walk(
  { columns, has }: Area,
  last: number,
  bytes: number,
  visit: (row: number, distance: number) => void,
): { next: number; end: number } {
  const { count, compressedOffset, compressedSize, uncompressedSize } = columns;
  const start = endOf(columns, last);
  let end = start;
  let row = last + 1;
  for (; row < count; row++) {
    if (uncompressedSize[row] === 0) continue; // of a file that this image does not have
    if (!has(row)) break;
    const from = compressedOffset[row] as number;
    const to = Math.max(end, from + (compressedSize[row] as number));
    if (from < start - (compressedSize[last] as number) || from - end > MAX_GAP_BYTES || to - start > bytes) break;
    visit(row, to - start);
    end = to;
  }
  return { next: row, end };
}

/** Visits the chunks before `first` in the blob without a gap, as long as they start within `bytes` of its start. */
function walkBack(
  { columns: { compressedOffset, compressedSize, uncompressedSize }, has }: Area,
  first: number,
  bytes: number,
  visit: (row: number) => boolean,
): void {
  const end = compressedOffset[first] as number;
  let start = end;
  for (let row = first - 1; row >= 0; row--) {
    if (uncompressedSize[row] === 0) continue;
    const from = compressedOffset[row] as number;
    if (!has(row) || from + (compressedSize[row] as number) !== start || end - from > bytes || !visit(row)) break;
    start = from;
  }
}

/** End of the stored bytes of a chunk in the blob. */
function endOf({ compressedOffset, compressedSize }: ChunkColumns, row: number): number {
  return (compressedOffset[row] as number) + (compressedSize[row] as number);
}
