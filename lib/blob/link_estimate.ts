/**
 * What the link to the blobs' homes is like, told from what reads of them took.
 *
 * A read takes `latency + bytes / bandwidth`. The two are separated by comparing the short half of the last reads with
 * the long half, by their medians, so that a read that was held up does not count. A read that shared the link counts
 * with the bytes that it would have got alone. The same for all homes: a cache has one of these.
 *
 * @module
 */

/** Reads that are looked at. */
const SAMPLES = 32;

/** Reads before anything is said. */
const MIN_SAMPLES = 6;

/** The long half must be this many times as long as the short one to tell a bandwidth. */
const MIN_SPREAD = 1.5;

/** Latency is that of the quicker ones of the short reads: a busy machine makes reads longer, nothing makes them shorter. */
const QUICK_SHARE = 1 / 4;

/** Bytes a millisecond above which a link is not told apart from a faster one. */
const MAX_BANDWIDTH = 1_000_000;

interface Sample {
  readonly bytes: number;
  readonly durationMs: number;
}

/** Latency and bandwidth. */
export interface LinkSpeed {
  readonly latencyMs: number;
  readonly bytesPerMs: number;
}

/** One read that is under way; call it with what came when it is done. */
export type ReadTimer = (bytes: number) => void;

/** The estimate, and the reads under way that it is made of. */
export class LinkEstimate {
  readonly #samples: Sample[] = [];
  #speed: LinkSpeed | undefined;
  #running = 0;
  /** Reads under way, summed over time: milliseconds. */
  #load = 0;
  #loadAt = 0;

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** A read begins. The timer must be called once, with 0 for a read that failed. */
  begin(): ReadTimer {
    this.#advance();
    this.#running++;
    const startedAt = this.now(), loadBefore = this.#load;
    return (bytes) => {
      this.#advance();
      this.#running--;
      const durationMs = this.now() - startedAt;
      if (bytes > 0 && durationMs > 0) this.#add(bytes * (this.#load - loadBefore) / durationMs, durationMs);
    };
  }

  /** What is known; undefined before a few reads of different lengths. */
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

  #advance(): void {
    const now = this.now();
    this.#load += this.#running * (now - this.#loadAt);
    this.#loadAt = now;
  }

  #add(bytes: number, durationMs: number): void {
    this.#samples.push({ bytes, durationMs });
    if (this.#samples.length > SAMPLES) this.#samples.shift();
    if (this.#samples.length < MIN_SAMPLES) return;
    const sorted = this.#samples.toSorted((a, b) => a.bytes - b.bytes);
    const half = sorted.length >> 1;
    const short = typical(sorted.slice(0, half)), long = typical(sorted.slice(-half));
    if (long.bytes < short.bytes * MIN_SPREAD) return;
    const longerMs = long.durationMs - short.durationMs;
    const bytesPerMs = Math.min(MAX_BANDWIDTH, longerMs > 0 ? (long.bytes - short.bytes) / longerMs : Infinity);
    const quick = typical(sorted.slice(0, half), QUICK_SHARE);
    this.#speed = { bytesPerMs, latencyMs: Math.max(0, quick.durationMs - quick.bytes / bytesPerMs) };
  }
}

/** Length and duration that the given part of the samples stays below, each for itself. */
function typical(samples: readonly Sample[], share = 1 / 2): Sample {
  const middle = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length * share)] as number;
  return {
    bytes: middle(samples.map(({ bytes }) => bytes)),
    durationMs: middle(samples.map(({ durationMs }) => durationMs)),
  };
}
