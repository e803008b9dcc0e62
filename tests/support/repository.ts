/**
 * Location of the repository and of test programs, which may run from the source tree or as bundles elsewhere
 * (vm/guest_program.ts).
 *
 * @module
 */
import { workerUrl } from "../../lib/base/worker.ts";

/** Path of the repository's root; for bundles, set by `NYDUS_GD_TEST_REPOSITORY`. */
export const REPOSITORY: string = Deno.env.get("NYDUS_GD_TEST_REPOSITORY") ??
  decodeURIComponent(new URL("../..", import.meta.url).pathname).replace(/\/$/, "");

/** `programUrl(import.meta, "tree_walk.ts")`: URL of a module to start as a program, in the caller's directory. */
export function programUrl(meta: ImportMeta, file: string): string {
  return workerUrl(meta, file).href;
}
