/**
 * Frees memory between two large pieces of work.
 *
 * The runtime does not collect garbage until its heap has grown, so the garbage of one stage adds to what the next one
 * needs.
 *
 * @module
 */
import { mallocTrim } from "../../ffi/malloc.ts";
import { collectGarbage } from "./garbage.ts";

/** Resident bytes below which freeing memory is not worth a collection, which takes some ten milliseconds. */
export const ENOUGH_BYTES = 200 << 20;

/**
 * Collects this thread's garbage and returns free memory outside the heap to the kernel.
 *
 * @param aboveBytes does nothing while fewer bytes are resident
 */
export async function freeMemory(aboveBytes = ENOUGH_BYTES): Promise<void> {
  if (Deno.memoryUsage().rss < aboveBytes) return;
  collectGarbage();
  await mallocTrim(0);
}
