/**
 * What may be changed while a cache is in use, and what follows from it and from the link.
 *
 * @module
 */
import type { Urgency } from "./fetch_queue.ts";
import type { LinkEstimate } from "./link_estimate.ts";
import type { RequestLimits } from "./planner.ts";

/** How much is fetched that nobody waits for. */
export interface FetchTuning {
  /** Most bytes that a read is extended by; 0: nothing is fetched ahead of readers. */
  readonly readAheadBytes: number;
  /** Reads of sources at once that prefetch may have. */
  readonly parallelPrefetch: number;
  /** Bytes of the longest request for more than one chunk that prefetch makes. */
  readonly prefetchRequestBytes: number;
  /** Bytes a second that prefetch may use; undefined: no limit. */
  readonly prefetchBytesPerSecond: number | undefined;
}

/** How long one prefetch request may occupy the link, milliseconds: an on-demand read may come at any time. */
const PREFETCH_REQUEST_MS = 100;

/** Bytes of a prefetch request while the link is not known. */
const UNKNOWN_LINK_BYTES = 128 * 1024;

/** The tuning of one cache. */
export class FetchTuner {
  constructor(
    public current: FetchTuning,
    private readonly demand: RequestLimits,
    private readonly link: LinkEstimate,
  ) {}

  /** What bounds a request. */
  limits(urgency: Urgency): RequestLimits {
    if (urgency !== "prefetch") return this.demand;
    return { ...this.demand, maxRequest: Math.min(this.current.prefetchRequestBytes, this.#shortBytes()) };
  }

  /** Prefetch requests at once: one where the next would only make the first slower. */
  parallelPrefetch(): number {
    const { parallelPrefetch, prefetchRequestBytes } = this.current;
    return this.#shortBytes() >= prefetchRequestBytes ? parallelPrefetch : 1;
  }

  /** Bytes that occupy the link for a short time. */
  #shortBytes(): number {
    const { speed } = this.link;
    return speed === undefined ? UNKNOWN_LINK_BYTES : speed.bytesPerMs * PREFETCH_REQUEST_MS;
  }
}
