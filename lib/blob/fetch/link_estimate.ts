/**
 * What the link to the blobs' homes is like, told from what reads of them took.
 *
 * ```
 * ask ─────── latency ───────► first piece ─── the rest, by bandwidth ───► last piece
 * ```
 * Bandwidth is told by how fast answers come once they have begun. A home, or a proxy before it, may collect a range
 * before it sends any of it, and local files come at once: there the time until the first piece grows with the length of
 * the answer, which is seen by comparing the short half of the last reads with the long half. Both are medians, so that
 * a read that was held up does not count. A read that shared the link counts with the bytes that it would have got
 * alone. The same for all homes: a cache has one of these.
 *
 * @module
 */

/** Reads that are looked at. */
const SAMPLES = 32;

/** Bytes behind the first piece of an answer that say how fast it came… */
const MIN_REST_BYTES = 16 * 1024;

/** …and how many such answers say it of the link. */
const MIN_RATES = 2;

/** Reads of which the short half is compared with the long half. */
const MIN_COMPARED = 6;

/** The long half must be this many times as long as the short one to tell a bandwidth. */
const MIN_SPREAD = 1.5;

/** Part of the latency by which the first pieces of answers that came in pieces differ in any case. */
const NOISE = 1 / 4;

/** Latency is that of the quicker ones of the short reads: a busy machine makes reads longer, nothing makes them shorter. */
const QUICK_SHARE = 1 / 4;

/** Bytes a millisecond above which a link is not told apart from a faster one. */
const MAX_BANDWIDTH = 1_000_000;

interface Sample {
  readonly bytes: number;
  /** Until the first piece, which is all where an answer comes at once. */
  readonly firstMs: number;
  /** Behind the first piece: bytes, and how long they took. */
  readonly restBytes: number;
  readonly restMs: number;
}

/** Latency and bandwidth. */
export interface LinkSpeed {
  readonly latencyMs: number;
  readonly bytesPerMs: number;
}

/** One read that is under way. */
export interface ReadTimer {
  /** The first `filled` bytes are here. An answer that begins anew begins with less. */
  progress(filled: number): void;
  /** The read is over; must be called once. `bytes`: what came, 0 for a read that failed. */
  done(bytes: number): void;
}

/** A moment of the clock, and the reads under way until then, summed over time. */
interface Moment {
  readonly atMs: number;
  readonly load: number;
}

/** The estimate, and the reads under way that it is made of. */
export class LinkEstimate {
  readonly #samples: Sample[] = [];
  #speed: LinkSpeed | undefined;
  #running = 0;
  /** Reads under way, summed over time: milliseconds. */
  #load = 0;
  #loadAt = 0;

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** A read begins. */
  begin(): ReadTimer {
    const start = this.#moment();
    this.#running++;
    let first: Moment | undefined;
    let firstBytes = 0;
    return {
      progress: (filled) => {
        if (first !== undefined && filled >= firstBytes) return;
        first = this.#moment();
        firstBytes = filled;
      },
      done: (bytes) => {
        const end = this.#moment();
        this.#running--;
        if (bytes <= 0 || end.atMs <= start.atMs) return;
        const begun = first ?? end;
        const rest = first === undefined ? 0 : bytes - firstBytes;
        this.#add({
          bytes: bytes * meanLoad(start, end),
          firstMs: begun.atMs - start.atMs,
          restBytes: rest * meanLoad(begun, end),
          restMs: end.atMs - begun.atMs,
        });
      },
    };
  }

  /**
   * Reads, and learns from it.
   *
   * @param read calls `progress` as bytes come, with how many there are
   */
  async timed<T extends Uint8Array>(read: (progress: ReadTimer["progress"]) => Promise<T>): Promise<T> {
    const timer = this.begin();
    let length = 0;
    try {
      const bytes = await read(timer.progress);
      length = bytes.length;
      return bytes;
    } finally {
      timer.done(length);
    }
  }

  /** What is known; undefined before a few reads. */
  get speed(): LinkSpeed | undefined {
    return this.#speed;
  }

  /** Bytes that the link carries in the time that it takes to begin: what may be added to a read and at most doubles it. */
  get delayBytes(): number | undefined {
    return this.#speed === undefined ? undefined : this.#speed.latencyMs * this.#speed.bytesPerMs;
  }

  /** How long `bytes` occupy the link; Infinity when that is not known. */
  transferMs(bytes: number): number {
    return this.#speed === undefined ? Infinity : bytes / this.#speed.bytesPerMs;
  }

  #moment(): Moment {
    const atMs = this.now();
    this.#load += this.#running * (atMs - this.#loadAt);
    this.#loadAt = atMs;
    return { atMs, load: this.#load };
  }

  #add(sample: Sample): void {
    this.#samples.push(sample);
    if (this.#samples.length > SAMPLES) this.#samples.shift();
    this.#speed = speedOf(this.#samples) ?? this.#speed;
  }
}

/** Reads under way on average. */
function meanLoad(from: Moment, to: Moment): number {
  const ms = to.atMs - from.atMs;
  return ms > 0 ? (to.load - from.load) / ms : 1;
}

function speedOf(samples: readonly Sample[]): LinkSpeed | undefined {
  const coming = comingRate(samples);
  const growing = firstPieceRate(samples, coming !== undefined);
  if (coming === undefined && growing === undefined) return undefined;
  // one after the other: what is collected first, then sent
  const msPerByte = 1 / (coming ?? Infinity) + 1 / (growing?.bytesPerMs ?? Infinity);
  const bytesPerMs = Math.min(MAX_BANDWIDTH, 1 / msPerByte);
  return { bytesPerMs, latencyMs: growing?.latencyMs ?? quantile(samples.map(({ firstMs }) => firstMs), QUICK_SHARE) };
}

/** Bytes a millisecond of answers that have begun; undefined where none came in pieces. */
function comingRate(samples: readonly Sample[]): number | undefined {
  const telling = samples.filter(({ restBytes }) => restBytes >= MIN_REST_BYTES);
  if (telling.length < MIN_RATES) return undefined;
  return quantile(telling.map(({ restBytes, restMs }) => restMs > 0 ? restBytes / restMs : Infinity), 1 / 2);
}

/**
 * By how much longer the first piece of a longer answer takes.
 *
 * @param inPieces answers come in pieces: a small difference says nothing
 */
function firstPieceRate(samples: readonly Sample[], inPieces: boolean): LinkSpeed | undefined {
  if (samples.length < MIN_COMPARED) return undefined;
  const sorted = samples.toSorted((a, b) => a.bytes - b.bytes);
  const half = sorted.length >> 1;
  const shorter = sorted.slice(0, half);
  const short = typical(shorter), long = typical(sorted.slice(-half));
  if (long.bytes < short.bytes * MIN_SPREAD) return undefined;
  const longerMs = long.firstMs - short.firstMs;
  if (inPieces && longerMs <= short.firstMs * NOISE) return undefined;
  const bytesPerMs = Math.min(MAX_BANDWIDTH, longerMs > 0 ? (long.bytes - short.bytes) / longerMs : Infinity);
  const quick = typical(shorter, QUICK_SHARE);
  return { bytesPerMs, latencyMs: Math.max(0, quick.firstMs - quick.bytes / bytesPerMs) };
}

/** Length and time that the given part of the samples stays below, each for itself. */
function typical(samples: readonly Sample[], share = 1 / 2): Pick<Sample, "bytes" | "firstMs"> {
  return {
    bytes: quantile(samples.map(({ bytes }) => bytes), share),
    firstMs: quantile(samples.map(({ firstMs }) => firstMs), share),
  };
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] as number;
}
