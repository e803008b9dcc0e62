/**
 * Errors of aborted waits, and waits with a deadline.
 *
 * @module
 */
import { NydusGdError } from "./errors.ts";

/**
 * The signal's reason if it is a {@link NydusGdError}; any other reason, such as a plain `abort()`, becomes
 * "interrupted".
 */
export function interruption(signal: AbortSignal): NydusGdError {
  const reason: unknown = signal.reason;
  return reason instanceof NydusGdError
    ? reason
    : new NydusGdError("interrupted", "Cannot continue: the caller cancelled", { cause: reason });
}

/** Like `signal.throwIfAborted()`, but throws a {@link NydusGdError}. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw interruption(signal);
}

/** A signal that is aborted when `one` is, or `other`, if there is one. */
export function joined(one: AbortSignal, other: AbortSignal | undefined): AbortSignal {
  return other === undefined ? one : AbortSignal.any([one, other]);
}

/** Waits for a shared result. An abort ends the wait of this caller only. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(interruption(signal));
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener("abort", onAbort));
}

/** Waits for `ms` milliseconds, or throws as {@link throwIfAborted} when the signal is aborted before. */
export async function delay(ms: number, signal?: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  try {
    await unlessAborted(promise, signal);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for the promise, at most `ms` milliseconds: undefined then. */
export async function atMost<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when the signal is aborted, at once if it already is. */
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
 * Unlike `AbortSignal.any` with `AbortSignal.timeout`, it releases timer and parent on disposal, which makes one per
 * read affordable.
 */
export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #onParent: () => void;

  /** @param reason creates the error that waits throw when the time is over */
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
