/**
 * What to fetch beside a chunk that a reader waits for, of what it is likely to want next.
 *
 * - *Neighbours*: chunks around the wanted one in the blob, as many as are nearly free: those behind it come after it, in
 *   time in which the link would wait for the next request to begin, so they may be half of what it carries then. Those
 *   before it delay it, so they are a fifth of that. On a slow link those are a few small files, on a fast and distant
 *   one a megabyte; from a local folder next to nothing. They go with the request of the wanted chunk.
 * - *Streams*: a reader that goes on where its last chunks ended gets a window ahead of it, doubled with each step up
 *   to what keeps the link busy. What follows the chunk that it waits for comes with it; the window is made full again
 *   when half of it is used up, so that requests are long and the link is busy while the reader is.
 *
 * While the link is not known nothing goes along: who reads little fetches little.
 *
 * Reads of chunks that are here are not seen, except of the one that is watched: it stands at the middle of a window. A
 * stream goes on when its reader comes to it, runs into what is still on its way, or into the window's end.
 *
 * @module
 */
import type { ChunkColumns } from "../../rafs/chunk_table.ts";
import type { LinkEstimate, LinkSpeed } from "./link_estimate.ts";

/** They occupy the link at most so long, milliseconds, however late its answers are. */
const MAX_NEIGHBOUR_MS = 25;

/** Windows of a stream while the link is not known, bytes. */
const UNKNOWN_LINK_WINDOW = { first: 128 * 1024, largest: 2 * 1024 * 1024 } as const;

/** Neighbours behind a chunk are at most this part of what the link carries while a request begins. */
const NEIGHBOUR_SHARE = 1 / 2;

/** Neighbours before a chunk, as a part of those behind it. */
const BEFORE_SHARE = 1 / 5;

/** The window of a stream is at most this many times what the link carries while a request begins… */
const WINDOW_SHARE = 4;

/** …or what it carries in so many milliseconds, whichever is more. */
const WINDOW_MS = 100;

/** Bytes of the largest window of a stream. */
const MAX_WINDOW_BYTES = 16 * 1024 * 1024;

/** Streams that are remembered for one blob. */
const MAX_STREAMS = 16;

/** Longest gap in the blob that a window goes over, bytes. */
const MAX_GAP_BYTES = 64 * 1024;

/** A reader that goes through the blob; rows of the chunk table. */
interface Stream {
  /** Last chunk that it asked for. */
  last: number;
  /** The chunk after its window. */
  next: number;
  /** Where the window ends in the blob. */
  end: number;
  windowBytes: number;
}

/** What to do beside what a reader waits for. */
export interface Ahead {
  /** Chunks to fetch, ascending. */
  readonly ahead: readonly number[];
  /** The chunk at which the reader is to be noticed. */
  readonly watch?: number | undefined;
}

const NOTHING: Ahead = { ahead: [] };

/** The readers of one blob. */
export class ReadAhead {
  /** The one that was used last stands last. */
  readonly #streams: Stream[] = [];

  /**
   * @param link of the homes
   * @param maxBytes asked each time: most bytes that a read is extended by; 0: nothing is fetched ahead
   */
  constructor(private readonly link: LinkEstimate, private readonly maxBytes: () => number) {}

  /**
   * A reader is at chunks `first` to `last`: waits for them, or was noticed.
   *
   * @param wanted whether a chunk is neither here nor on its way
   */
  after(columns: ChunkColumns, first: number, last: number, wanted: (row: number) => boolean): Ahead {
    const limit = this.maxBytes();
    if (limit <= 0) return NOTHING;
    const { speed } = this.link;
    const nearBytes = Math.min(limit, neighbourBytes(speed));
    const stream = this.#find(first);
    if (stream !== undefined && last <= stream.last) return NOTHING; // more of the same chunk
    const ahead: number[] = [];
    if (stream === undefined) {
      walkBack(columns, first, nearBytes * BEFORE_SHARE, (row) => {
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
    const { next, end } = walk(columns, last, Math.max(nearBytes, windowBytes), (row, distance) => {
      if (wanted(row)) ahead.push(row);
      if (distance >= windowBytes / 2) watch ??= row;
    });
    const window = stream !== undefined && stream.next > next ? stream : { next, end };
    this.#remember(stream, { last, next: window.next, end: window.end, windowBytes });
    return stream === undefined ? { ahead } : { ahead, watch };
  }

  /** The stream whose reader may have come to `row`. */
  #find(row: number): Stream | undefined {
    return this.#streams.findLast(({ last, next }) => row >= last && row <= next);
  }

  #remember(before: Stream | undefined, stream: Stream): void {
    if (before !== undefined) this.#streams.splice(this.#streams.indexOf(before), 1);
    this.#streams.push(stream);
    if (this.#streams.length > MAX_STREAMS) this.#streams.shift();
  }
}

/** Bytes that may come behind a wanted chunk. */
function neighbourBytes(speed: LinkSpeed | undefined): number {
  if (speed === undefined) return 0;
  return Math.min(speed.latencyMs * NEIGHBOUR_SHARE, MAX_NEIGHBOUR_MS) * speed.bytesPerMs;
}

/** The window after one of `bytes`. */
function nextWindow(bytes: number, speed: LinkSpeed | undefined): number {
  if (speed !== undefined) {
    const busyMs = Math.max(WINDOW_MS, speed.latencyMs * WINDOW_SHARE);
    return Math.min(2 * bytes, busyMs * speed.bytesPerMs, MAX_WINDOW_BYTES);
  }
  return Math.min(Math.max(2 * bytes, UNKNOWN_LINK_WINDOW.first), UNKNOWN_LINK_WINDOW.largest);
}

/**
 * Goes over the chunks that follow `last` in the blob, as long as they end within `bytes` of its end.
 *
 * @returns the row after the last one that was visited, and where that one ends
 */
function walk(
  columns: ChunkColumns,
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
    const from = compressedOffset[row] as number;
    const to = Math.max(end, from + (compressedSize[row] as number));
    if (from < start - (compressedSize[last] as number) || from - end > MAX_GAP_BYTES || to - start > bytes) break;
    visit(row, to - start);
    end = to;
  }
  return { next: row, end };
}

/** Goes over the chunks before `first` in the blob without a gap, as long as they begin within `bytes` of its begin. */
function walkBack(
  { compressedOffset, compressedSize, uncompressedSize }: ChunkColumns,
  first: number,
  bytes: number,
  visit: (row: number) => boolean,
): void {
  const end = compressedOffset[first] as number;
  let start = end;
  for (let row = first - 1; row >= 0; row--) {
    if (uncompressedSize[row] === 0) continue;
    const from = compressedOffset[row] as number;
    if (from + (compressedSize[row] as number) !== start || end - from > bytes || !visit(row)) break;
    start = from;
  }
}

/** Where the stored bytes of a chunk end in the blob. */
function endOf({ compressedOffset, compressedSize }: ChunkColumns, row: number): number {
  return (compressedOffset[row] as number) + (compressedSize[row] as number);
}
