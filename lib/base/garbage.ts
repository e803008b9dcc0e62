/**
 * Garbage of a thread's heap, which the runtime collects when something is allocated, not when nothing is. A module of its
 * own, as Workers start sooner without what trim_memory.ts imports.
 *
 * @module
 */

/** Milliseconds without work after which a Worker that waits for the kernel is to {@link collectGarbage}. */
export const REST_MS = 5_000;

/** Of V8, where the program was started with `--expose-gc`. */
const { gc } = globalThis as { gc?: (options: { type: "major"; flavor: "last-resort" }) => void };

/** Collects the garbage of this thread, as far as the runtime lets us. Takes some ten milliseconds. */
export function collectGarbage(): void {
  gc?.({ type: "major", flavor: "last-resort" });
}
