/**
 * Keeps what a resting process holds small.
 *
 * | what                               | why it is still there                                              |
 * | ---------------------------------- | ------------------------------------------------------------------ |
 * | garbage of the main thread's heap  | it is collected when something is allocated, not when nothing is    |
 * | free memory of the C library       | it lies between small pieces that are in use                       |
 * | pages of the program that runs     | the start touched them; they stay in the kernel's cache             |
 *
 * A process rests when its resident memory changes no more. One that has been trimmed is left alone until that has become
 * another, by work or by threads that ended: meanwhile it costs a look at one number.
 *
 * @module
 */
import { mallocTrim } from "../../ffi/malloc.ts";
import { dropProgramPages } from "../../ffi/smaps.ts";

const INTERVAL_MS = 5_000;
/** Bytes by which memory changes from one look to the next while the process is at work. */
const UNREST_BYTES = 1 << 20;
/** Bytes by which memory has changed since the last time, up or down, for another time to be worthwhile. */
const WORTH_BYTES = 4 << 20;

/** Of V8, where the program was started with `--expose-gc`. */
const { gc } = globalThis as { gc?: (options: { type: "major"; flavor: "last-resort" }) => void };

/** Collects the garbage of this thread, as far as the runtime lets us. Takes some ten milliseconds. */
export function collectGarbage(): void {
  gc?.({ type: "major", flavor: "last-resort" });
}

/**
 * Gives back what a resting process does not need, until it is disposed.
 *
 * @param dropMore called as well: takes out pages that the caller knows of
 * @param intervalMs from one look to the next
 */
export function trimMemory(dropMore: () => void, intervalMs = INTERVAL_MS): AsyncDisposable {
  let trimming: Promise<void> | undefined;
  let last = 0, left = 0;
  const look = () => {
    if (trimming !== undefined) return;
    const now = residentBytes();
    const rests = Math.abs(now - last) < UNREST_BYTES;
    last = now;
    if (!rests || Math.abs(now - left) < WORTH_BYTES) return;
    trimming = trim(dropMore).then(() => {
      trimming = undefined;
      last = left = residentBytes();
    });
  };
  const timer = setInterval(look, intervalMs);
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await trimming;
    },
  };
}

async function trim(dropMore: () => void): Promise<void> {
  collectGarbage();
  await mallocTrim(0);
  dropProgramPages();
  dropMore();
}

function residentBytes(): number {
  return Deno.memoryUsage().rss;
}
