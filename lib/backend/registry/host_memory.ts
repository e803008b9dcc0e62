/**
 * Which hosts one blob is better not asked from first: those that do not have it, or had other bytes under its name.
 *
 * Hosts are named as in their URL, "mirror.example.com:5000"; times are milliseconds of a clock that only goes forward.
 *
 * @module
 */

/** A mirror may have fetched the blob by then. */
const ASIDE_MS = 5 * 60_000;
/** Reads of which it is remembered who served them. */
const MAX_SERVED = 64;

interface Served {
  readonly host: string;
  readonly offset: number;
  readonly end: number;
}

/** What was learned about the hosts of one blob. */
export class HostMemory {
  readonly #asideUntilMs = new Map<string, number>();
  readonly #served: Served[] = [];

  isAside(host: string, nowMs: number): boolean {
    return nowMs < (this.#asideUntilMs.get(host) ?? -Infinity);
  }

  putAside(host: string, nowMs: number): void {
    this.#asideUntilMs.set(host, nowMs + ASIDE_MS);
  }

  /** `host` gave the `length` bytes from `offset`. */
  served(host: string, offset: number, length: number): void {
    this.#served.push({ host, offset, end: offset + length });
    if (this.#served.length > MAX_SERVED) this.#served.shift();
  }

  /** Bytes of this range were not the blob's: puts aside who gave them. */
  doubt(offset: number, length: number, nowMs: number): void {
    for (const { host, ...range } of this.#served) {
      if (range.offset < offset + length && offset < range.end) this.putAside(host, nowMs);
    }
  }
}
