/**
 * Which hosts failed lately. They are asked after the others for a while, which doubles as long as they go on failing.
 *
 * Shared by all repositories, so that a mirror that is away is waited for once and not once for each image.
 *
 * @module
 */

const FIRST_PAUSE_MS = 30_000;
const MAX_PAUSE_MS = 5 * 60_000;

interface Failure {
  readonly untilMs: number;
  readonly pauseMs: number;
}

/** See the module. Hosts are named as in their URL: "mirror.example.com:5000". */
export class HostHealth {
  readonly #failures = new Map<string, Failure>();

  /** @param now milliseconds that only go forward; tests have their own */
  constructor(readonly now: () => number = () => performance.now()) {}

  isAside(host: string): boolean {
    return this.now() < (this.#failures.get(host)?.untilMs ?? -Infinity);
  }

  /**
   * Puts `host` behind the others.
   *
   * @returns for how many milliseconds; undefined where it is there already, as by a request of the same moment
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
