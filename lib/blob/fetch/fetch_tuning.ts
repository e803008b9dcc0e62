/**
 * Tuning that can be changed while a cache is in use, and limits derived from it and from the link.
 *
 * @module
 */
import type { Urgency } from "./fetch_queue.ts";
import type { LinkEstimate } from "./link_estimate.ts";
import type { RequestLimits } from "./planner.ts";

/** Tuning of read-ahead and prefetch. */
export interface FetchTuning {
  /** Maximum bytes by which a read is extended; 0: no read-ahead. */
  readonly readAheadBytes: number;
  /** Whether the surroundings of a read are fetched on a fast link: read_ahead.ts. */
  readonly hasSurroundings: boolean;
  /** Maximum concurrent reads of sources by prefetch. */
  readonly parallelPrefetch: number;
  /** Maximum bytes of a prefetch request for more than one chunk. */
  readonly prefetchRequestBytes: number;
  /** Maximum bytes per second of prefetch; undefined: no limit. */
  readonly prefetchBytesPerSecond: number | undefined;
}

/**
 * Maximum time for which a prefetch request may occupy the link, milliseconds: an on-demand read may come at any time.
 */
const PREFETCH_REQUEST_MS = 100;

/** Maximum bytes of a prefetch request while the speed of the link is unknown. */
const UNKNOWN_LINK_BYTES = 128 * 1024;

/** The tuning of one cache. */
export class FetchTuner {
  constructor(
    public current: FetchTuning,
    private readonly demand: RequestLimits,
    private readonly link: LinkEstimate,
  ) {}

  /** Returns the limits of a request. */
  limits(urgency: Urgency): RequestLimits {
    if (urgency !== "prefetch") return this.demand;
    return { ...this.demand, maxRequest: Math.min(this.current.prefetchRequestBytes, this.#shortBytes()) };
  }

  /** Maximum concurrent prefetch requests: one, if a second would only slow down the first. */
  parallelPrefetch(): number {
    const { parallelPrefetch, prefetchRequestBytes } = this.current;
    return this.#shortBytes() >= prefetchRequestBytes ? parallelPrefetch : 1;
  }

  /** Bytes that occupy the link for {@link PREFETCH_REQUEST_MS}. */
  #shortBytes(): number {
    const { speed } = this.link;
    return speed === undefined ? UNKNOWN_LINK_BYTES : speed.bytesPerMs * PREFETCH_REQUEST_MS;
  }
}
