/**
 * Memory given back between two large pieces of work, where nothing else would ask for it.
 *
 * The runtime lets garbage wait for a collection until its heap has grown; what a stage of work left then stands beside
 * what the next one needs.
 *
 * @module
 */
import { mallocTrim } from "../../ffi/malloc.ts";
import { collectGarbage } from "./garbage.ts";

/** Resident bytes below which nothing is short. A collection takes some ten milliseconds. */
export const ENOUGH_BYTES = 200 << 20;

/**
 * Collects this thread's garbage, and gives what it held outside of the heap back to the kernel.
 *
 * @param aboveBytes with fewer resident bytes nothing is done
 */
export async function freeMemory(aboveBytes = ENOUGH_BYTES): Promise<void> {
  if (Deno.memoryUsage().rss < aboveBytes) return;
  collectGarbage();
  await mallocTrim(0);
}
