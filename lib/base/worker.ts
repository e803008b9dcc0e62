/**
 * Starts Workers. A Worker's module is located beside its owner in the source tree and beside the bundle in a build.
 *
 * A Worker module is named `<something>_worker.ts`, unique in the repository; `scripts/build_binary.ts` bundles each
 * into `<something>_worker.js` beside `main.js`.
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { O, open } from "../../ffi/fcntl.ts";
import { NydusGdError } from "./errors.ts";
import { OPEN_FILES_HINT } from "./error_report.ts";

/** More descriptors than the event loop of a new thread opens. */
const DESCRIPTORS = 16;

/**
 * Starts a Worker from the module at `url`.
 *
 * Tries in advance to open as many descriptors as a thread needs, because the runtime ends the whole program if a new
 * thread cannot open them.
 *
 * @param name of the thread, for debuggers
 * @throws {NydusGdError} "environment" when the process is out of descriptors
 */
export function startWorker(url: URL, name: string): Worker {
  using tried = new DisposableStack();
  try {
    for (let i = 0; i < DESCRIPTORS; i++) tried.use(open("/dev/null", O.RDONLY));
  } catch (error) {
    if (!isErrno(error, "EMFILE", "ENFILE")) throw error;
    throw new NydusGdError("environment", `Cannot start thread ${name}: out of file descriptors`, {
      hint: OPEN_FILES_HINT,
      cause: error,
    });
  }
  tried[Symbol.dispose]();
  return new Worker(url, { type: "module", name });
}

/** Resolves a Worker module relative to its owner: `workerUrl(import.meta, "decode_worker.ts")`. */
export function workerUrl(meta: ImportMeta, file: string): URL {
  return new URL(meta.url.endsWith(".ts") ? file : file.replace(/\.ts$/, ".js"), meta.url);
}
