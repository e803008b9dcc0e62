/**
 * Keeps what a resting daemon holds small.
 *
 * Chunks pass through buffers of the C library's allocator. What they leave is free but scattered between small pieces
 * that are in use, and stays with the process until the allocator is asked for it.
 *
 * @module
 */
import { mallocTrim } from "../ffi/malloc.ts";

const INTERVAL_MS = 10_000;

/** Gives free memory back to the kernel every {@link INTERVAL_MS}, until it is disposed. */
export function trimMemory(): AsyncDisposable {
  let trimming: Promise<boolean> | undefined;
  const timer = setInterval(() => trimming = mallocTrim(0), INTERVAL_MS);
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await trimming;
    },
  };
}
