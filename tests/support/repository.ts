/**
 * Where the repository is, and the programs of tests: these may run out of the source tree or as bundles anywhere
 * (vm/guest_program.ts).
 *
 * @module
 */
import { workerUrl } from "../../lib/base/worker.ts";

/** Path of its root folder. Bundles are told by `NYDUS_GD_TEST_REPOSITORY`. */
export const REPOSITORY: string = Deno.env.get("NYDUS_GD_TEST_REPOSITORY") ??
  decodeURIComponent(new URL("../..", import.meta.url).pathname).replace(/\/$/, "");

/** `programUrl(import.meta, "tree_walk.ts")`: the module to start as a program, from itself or one in the same folder. */
export function programUrl(meta: ImportMeta, file: string): string {
  return workerUrl(meta, file).href;
}
