/**
 * Explicit garbage collection. The runtime collects only when something is allocated, so an idle thread keeps its
 * garbage. A separate module, because Workers start faster without the imports of trim_memory.ts.
 *
 * @module
 */

/** Milliseconds of idleness after which a Worker that waits for the kernel should call {@link collectGarbage}. */
export const REST_MS = 5_000;

/** Provided by V8 if the program was started with `--expose-gc`. */
const { gc } = globalThis as { gc?: (options: { type: "major"; flavor: "last-resort" }) => void };

/** Collects this thread's garbage, if the runtime allows it. Takes some ten milliseconds. */
export function collectGarbage(): void {
  gc?.({ type: "major", flavor: "last-resort" });
}
