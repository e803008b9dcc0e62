/**
 * Where a Worker's module is: beside its owner in the source tree, beside the bundle in a build.
 *
 * A Worker module is named `<something>_worker.ts`, unique in the repository; `scripts/build_binary.ts` bundles each
 * into `<something>_worker.js` beside `main.js`.
 *
 * @module
 */

/** `workerUrl(import.meta, "decode_worker.ts")` from the module in the same folder. */
export function workerUrl(meta: ImportMeta, file: string): URL {
  return new URL(meta.url.endsWith(".ts") ? file : file.replace(/\.ts$/, ".js"), meta.url);
}
