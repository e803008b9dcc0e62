/**
 * What an aborted wait throws.
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
