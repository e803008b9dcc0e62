/**
 * Tracks, for one blob, hosts to try last: those that lack the blob or have served wrong content for it.
 *
 * Hosts are named as in their URL, "mirror.example.com:5000"; times are milliseconds of a monotonic clock.
 *
 * @module
 */

/** By then a mirror may have fetched the blob. */
const ASIDE_MS = 5 * 60_000;
/** Maximum number of reads whose host is remembered. */
const MAX_SERVED = 64;

interface Served {
  readonly host: string;
  readonly offset: number;
  readonly end: number;
}

/** What is known about the hosts of one blob. */
export class HostMemory {
  readonly #asideUntilMs = new Map<string, number>();
  readonly #served: Served[] = [];

  isAside(host: string, nowMs: number): boolean {
    return nowMs < (this.#asideUntilMs.get(host) ?? -Infinity);
  }

  putAside(host: string, nowMs: number): void {
    this.#asideUntilMs.set(host, nowMs + ASIDE_MS);
  }

  /** Records that `host` served `length` bytes at `offset`. */
  served(host: string, offset: number, length: number): void {
    this.#served.push({ host, offset, end: offset + length });
    if (this.#served.length > MAX_SERVED) this.#served.shift();
  }

  /** Handles wrong content in a range: puts aside the hosts that served any of it. */
  doubt(offset: number, length: number, nowMs: number): void {
    for (const { host, ...range } of this.#served) {
      if (range.offset < offset + length && offset < range.end) this.putAside(host, nowMs);
    }
  }
}
