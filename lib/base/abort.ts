/**
 * What an aborted wait throws, and waits that end by themselves.
 *
 * @module
 */
import { NydusGdError } from "./errors.ts";

/** The signal's reason where it is ours; anything else, such as a plain `abort()`, becomes "interrupted". */
export function interruption(signal: AbortSignal): NydusGdError {
  const reason: unknown = signal.reason;
  return reason instanceof NydusGdError
    ? reason
    : new NydusGdError("interrupted", "Cannot go on: the caller gave up", { cause: reason });
}

/** Like `signal.throwIfAborted()`, with an error of ours. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw interruption(signal);
}

/** Waits for a result that others share: this caller may give up while they wait on. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(interruption(signal));
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener("abort", onAbort));
}

/** Resolves when the signal is aborted, at once when it is already. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/**
 * A signal that is aborted after `timeoutMs`, or together with `parent`.
 *
 * ```ts
 * using deadline = new Deadline(30_000, signal, () => new NydusGdError("unavailable", "Cannot read: no data came"));
 * await fetch(url, { signal: deadline.signal });
 * ```
 * Unlike `AbortSignal.any` with `AbortSignal.timeout` it lets go of timer and parent at once: there can be one for each
 * read.
 */
export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #onParent: () => void;

  /** @param reason what waits throw when the time is over */
  constructor(timeoutMs: number, private readonly parent: AbortSignal | undefined, reason: () => NydusGdError) {
    this.#timer = setTimeout(() => this.#controller.abort(reason()), timeoutMs);
    this.#onParent = () => this.#controller.abort(parent?.reason);
    if (parent?.aborted) this.#onParent();
    else parent?.addEventListener("abort", this.#onParent, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.parent?.removeEventListener("abort", this.#onParent);
  }
}
