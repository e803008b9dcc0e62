/**
 * Starting Workers. Where a Worker's module is: beside its owner in the source tree, beside the bundle in a build.
 *
 * A Worker module is named `<something>_worker.ts`, unique in the repository; `scripts/build_binary.ts` bundles each
 * into `<something>_worker.js` beside `main.js`.
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { O, open } from "../../ffi/fcntl.ts";
import { NydusGdError } from "./errors.ts";

/** More than the event loop of a new thread opens. */
const DESCRIPTORS = 16;

/**
 * A Worker of the module at `url`.
 *
 * The runtime ends the whole program when a new thread cannot have its descriptors, so they are tried first.
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
      hint: "raise the limit of open files (ulimit -n, LimitNOFILE=)",
      cause: error,
    });
  }
  tried[Symbol.dispose]();
  return new Worker(url, { type: "module", name });
}

/** `workerUrl(import.meta, "decode_worker.ts")` from the module in the same folder. */
export function workerUrl(meta: ImportMeta, file: string): URL {
  return new URL(meta.url.endsWith(".ts") ? file : file.replace(/\.ts$/, ".js"), meta.url);
}
