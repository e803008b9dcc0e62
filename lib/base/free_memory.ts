/**
 * Memory given back between two large pieces of work, where nothing else would ask for it.
 *
 * The runtime lets garbage wait for a collection until its heap has grown; what a stage of work left then stands beside
 * what the next one needs.
 *
 * @module
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { mallocTrim } from "../../ffi/malloc.ts";

let collect: (() => void) | undefined;

/** Collects this thread's garbage, and gives what it held outside of the heap back to the kernel. */
export async function freeMemory(): Promise<void> {
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  collect();
  await mallocTrim(0);
}
