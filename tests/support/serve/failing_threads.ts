/**
 * Makes threads fail that serve the kernel: each gets a message that it cannot read (lib/mount/reads/posted.ts), on which
 * it throws when it acts next, with a request of the kernel in its hands.
 *
 * @module
 */
import { Poster } from "../../../lib/mount/reads/posted.ts";

/** The threads of this process that get messages while it exists. */
export class FailingThreads implements Disposable {
  readonly #posters = new Set<Poster<unknown>>();
  readonly #send = Poster.prototype.send;

  constructor() {
    const posters = this.#posters, send = this.#send;
    Poster.prototype.send = function (this: Poster<unknown>, message: unknown) {
      posters.add(this);
      send.call(this, message);
    };
  }

  /** Makes each thread fail at its next request; those that replace them are as good as new. */
  fail(): void {
    for (const poster of this.#posters) this.#send.call(poster, undefined);
    this.#posters.clear();
  }

  [Symbol.dispose](): void {
    Poster.prototype.send = this.#send;
  }
}
