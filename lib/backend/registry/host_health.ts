/**
 * Tracks hosts that failed recently. They are tried after the others for a period that doubles with each further
 * failure.
 *
 * Shared by all repositories, so that an unreachable mirror delays one request and not one per image.
 *
 * @module
 */

const FIRST_PAUSE_MS = 30_000;
const MAX_PAUSE_MS = 5 * 60_000;

interface Failure {
  readonly untilMs: number;
  readonly pauseMs: number;
}

/** Health by host, named as in URLs: "mirror.example.com:5000". */
export class HostHealth {
  readonly #failures = new Map<string, Failure>();

  /** @param now monotonic clock in milliseconds; replaced in tests */
  constructor(readonly now: () => number = () => performance.now()) {}

  isAside(host: string): boolean {
    return this.now() < (this.#failures.get(host)?.untilMs ?? -Infinity);
  }

  /**
   * Moves `host` behind the others.
   *
   * @returns for how many milliseconds; undefined if it is there already, for example by a concurrent request
   */
  failed(host: string): number | undefined {
    if (this.isAside(host)) return undefined;
    const before = this.#failures.get(host)?.pauseMs;
    const pauseMs = before === undefined ? FIRST_PAUSE_MS : Math.min(MAX_PAUSE_MS, before * 2);
    this.#failures.set(host, { untilMs: this.now() + pauseMs, pauseMs });
    return pauseMs;
  }

  succeeded(host: string): void {
    this.#failures.delete(host);
  }
}
