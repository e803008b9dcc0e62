/**
 * A place of blobs that never answers.
 *
 * @module
 */
import { unlessAborted } from "../../../lib/base/abort.ts";
import type { BackendCandidate } from "../../../lib/image/lazy/open/choose_backend.ts";

/** Every question about a size waits until it is aborted. @param onAsked called when one is put */
export function silentCandidate(onAsked = () => {}): BackendCandidate {
  const description = "silent";
  const size = (signal?: AbortSignal) => {
    onAsked();
    return unlessAborted(new Promise<never>(() => {}), signal);
  };
  const read = () => Promise.reject(new Error("unused"));
  return { description, open: () => ({ description, blob: () => ({ description, read, size }) }) };
}
