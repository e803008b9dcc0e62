/**
 * Estimates latency and bandwidth of the link to the backends from the timing of reads.
 *
 * ```
 * request ─────── latency ───────► first piece ─── the rest, by bandwidth ───► last piece
 * ```
 * Bandwidth is the rate at which responses arrive once they have started. A backend, or a proxy before it, may buffer a
 * range before sending it, and local files arrive at once: then the time until the first piece grows with the length of
 * the response, which shows when the shorter half of recent reads is compared with the longer half. Both use medians,
 * so that a single delayed read does not count. A read that shared the link counts with the bytes that it would have
 * received alone. All backends of a cache share one estimate.
 *
 * @module
 */

/** Number of recent reads considered. */
const SAMPLES = 32;

/** Minimum bytes after the first piece of a response for its rate to count… */
const MIN_REST_BYTES = 16 * 1024;

/** …and minimum number of such responses for an estimate. */
const MIN_RATES = 2;

/** Minimum number of reads to compare the shorter with the longer half. */
const MIN_COMPARED = 6;

/** Minimum ratio of the lengths of longer and shorter half. */
const MIN_SPREAD = 1.5;

/** Fraction of the latency by which first pieces of streamed responses vary in any case. */
const NOISE = 1 / 4;

/** Quantile of the short reads taken as latency: a busy machine makes reads slower, nothing makes them faster. */
const QUICK_SHARE = 1 / 4;

/** Bytes per millisecond above which faster links are not distinguished. */
const MAX_BANDWIDTH = 1_000_000;

interface Sample {
  readonly bytes: number;
  /** Time until the first piece, which is the whole response if it arrives at once. */
  readonly firstMs: number;
  /** Bytes after the first piece, and the time that they took. */
  readonly restBytes: number;
  readonly restMs: number;
}

/** Latency and bandwidth. */
export interface LinkSpeed {
  readonly latencyMs: number;
  readonly bytesPerMs: number;
}

/** Timer of one read in flight. */
export interface ReadTimer {
  /** The first `filled` bytes have arrived. A response that restarts reports fewer. */
  progress(filled: number): void;
  /** The read has ended; must be called once. `bytes`: bytes received, 0 for a failed read. */
  done(bytes: number): void;
}

/** A point in time, and the number of reads in flight integrated over time until then. */
interface Moment {
  readonly atMs: number;
  readonly load: number;
}

/** The estimate, and the samples and reads in flight that it is based on. */
export class LinkEstimate {
  readonly #samples: Sample[] = [];
  #speed: LinkSpeed | undefined;
  #running = 0;
  /** Number of reads in flight, integrated over time: milliseconds. */
  #load = 0;
  #loadAt = 0;

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Starts timing a read. */
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
   * Runs a read and updates the estimate.
   *
   * @param read calls `progress` with the number of bytes received so far
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

  /** The current estimate; undefined before the first few reads. */
  get speed(): LinkSpeed | undefined {
    return this.#speed;
  }

  /** Bytes that the link carries during its latency: adding this many to a read at most doubles its time. */
  get delayBytes(): number | undefined {
    return this.#speed === undefined ? undefined : this.#speed.latencyMs * this.#speed.bytesPerMs;
  }

  /** Milliseconds for which `bytes` occupy the link; Infinity if unknown. */
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

/** Average number of reads in flight. */
function meanLoad(from: Moment, to: Moment): number {
  const ms = to.atMs - from.atMs;
  return ms > 0 ? (to.load - from.load) / ms : 1;
}

function speedOf(samples: readonly Sample[]): LinkSpeed | undefined {
  const coming = comingRate(samples);
  const growing = firstPieceRate(samples, { inPieces: coming !== undefined });
  if (coming === undefined && growing === undefined) return undefined;
  // sequential: the response is buffered first, then sent
  const msPerByte = 1 / (coming ?? Infinity) + 1 / (growing?.bytesPerMs ?? Infinity);
  const bytesPerMs = Math.min(MAX_BANDWIDTH, 1 / msPerByte);
  return { bytesPerMs, latencyMs: growing?.latencyMs ?? quantile(samples.map(({ firstMs }) => firstMs), QUICK_SHARE) };
}

/** Bytes per millisecond of streamed responses; undefined if there are none. */
function comingRate(samples: readonly Sample[]): number | undefined {
  const telling = samples.filter(({ restBytes }) => restBytes >= MIN_REST_BYTES);
  if (telling.length < MIN_RATES) return undefined;
  return quantile(telling.map(({ restBytes, restMs }) => restMs > 0 ? restBytes / restMs : Infinity), 1 / 2);
}

/**
 * Estimates the rate by how much later the first piece of a longer response arrives.
 *
 * @param inPieces responses are streamed: a small difference is not significant
 */
function firstPieceRate(
  samples: readonly Sample[],
  { inPieces }: { readonly inPieces: boolean },
): LinkSpeed | undefined {
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

/** The given quantile of length and time of the samples, each separately. */
function typical(samples: readonly Sample[], share = 1 / 2): Pick<Sample, "bytes" | "firstMs"> {
  return {
    bytes: quantile(samples.map(({ bytes }) => bytes), share),
    firstMs: quantile(samples.map(({ firstMs }) => firstMs), share),
  };
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] as number;
}
